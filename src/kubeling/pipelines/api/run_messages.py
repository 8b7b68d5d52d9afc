"""Runs and tasks as messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.wire import compact, wire_time
from kubeling.pipelines.ir import DagSpec, PipelineSpec
from kubeling.pipelines.nodes import Inputs, Outputs, TaskNode, artifact_id, child_path, task_id

__all__ = ["run_message", "task_details"]

_FAILURE_CODE: Final = 13


def run_message(row: Any, spec: msgspec.Raw | None, tasks: Sequence[Obj] | None = None) -> Obj:
    """A run; one made from an uploaded version refers to it, others carry their spec.

    ``namespace`` is not in upstream's message, whose clients ignore it: it is where the pods are.
    """
    source: Obj = {}
    if row.pipeline_id:
        source["pipeline_version_reference"] = compact(
            pipeline_id=row.pipeline_id, pipeline_version_id=row.pipeline_version_id
        )
    else:
        source["pipeline_spec"] = spec
    return compact(
        experiment_id=row.experiment_id,
        run_id=row.run_id,
        display_name=row.display_name,
        storage_state=row.storage_state,
        description=row.description,
        namespace=row.namespace,
        **source,
        runtime_config=_compacted(row.runtime_config),
        service_account=row.service_account,
        plugins_input=row.plugins_input,
        created_at=wire_time(row.created_at),
        scheduled_at=wire_time(row.scheduled_at or row.created_at),
        finished_at=wire_time(row.finished_at),
        state=row.state,
        error={"code": _FAILURE_CODE, "message": row.error} if row.error else None,
        run_details={"task_details": list(tasks)} if tasks else None,
        recurring_run_id=row.recurring_run_id,
        state_history=row.state_history,
    )


def task_details(run_id: str, nodes: Iterable[TaskNode], spec: PipelineSpec | None) -> list[Obj]:
    """The tasks of a run, in the order in which they began; the run itself is left out."""
    by_path = {node.path: node for node in nodes}
    children = _children(by_path, spec) if spec is not None else {}
    ordered = sorted(
        (node for node in by_path.values() if not node.is_root),
        key=lambda n: (n.created_at is None, n.created_at, n.path),
    )
    return [_task(run_id, node, children.get(node.path, ())) for node in ordered]


def _task(run_id: str, node: TaskNode, children: Iterable[str]) -> Obj:
    own = task_id(run_id, node.path)
    return compact(
        run_id=run_id,
        task_id=own,
        display_name=node.display_name,
        create_time=wire_time(node.created_at),
        start_time=wire_time(node.started_at),
        end_time=wire_time(node.finished_at),
        executor_detail={"main_job": node.pod} if node.pod else None,
        state=node.state,
        execution_id=str(artifact_id("execution", own)),
        error=_error(node),
        inputs=_artifact_ids(node.inputs),
        outputs=_artifact_ids(node.outputs),
        parent_task_id=task_id(run_id, node.parent) if node.parent else "",
        state_history=_history(node),
        pod_name=node.pod,
        child_tasks=[{"task_id": task_id(run_id, path)} for path in children],
    )


def _error(node: TaskNode) -> Obj | None:
    if node.error is not None:
        return {"code": node.error.code, "message": node.error.message}
    if node.message and not node.final:
        return {"code": 14, "message": node.message}
    return None


def _artifact_ids(side: Inputs | Outputs) -> Obj:
    return {
        name: {"artifact_ids": [str(artifact.id) for artifact in found]}
        for name, found in side.artifacts.items()
    }


def _history(node: TaskNode) -> list[Obj]:
    moments = [("PENDING", node.created_at), ("RUNNING", node.started_at)]
    if node.final:
        moments.append((node.state, node.finished_at))
    return [{"update_time": wire_time(m), "state": s} for s, m in moments if m is not None]


def _children(nodes: dict[str, TaskNode], spec: PipelineSpec) -> dict[str, list[str]]:
    """What follows each task: a DAG's first tasks, a loop's iterations, a task's dependents."""
    found: dict[str, list[str]] = {path: [] for path in nodes}
    for node in nodes.values():
        if node.is_root:
            _within(node, spec.root.dag, found)
            continue
        if node.iteration is not None:
            found[node.parent].append(node.path)
        component = spec.components.get(node.component)
        if component is not None and node.kind == "dag":
            _within(node, component.dag, found)
    return found


def _within(node: TaskNode, dag: DagSpec | None, found: dict[str, list[str]]) -> None:
    for name, task in (dag.tasks if dag is not None else {}).items():
        path = child_path(node.path, name)
        if path not in found:
            continue
        for before in task.upstream:
            found[child_path(node.path, before)].append(path)
        if not task.upstream:
            found[node.path].append(path)


def _compacted(config: Obj) -> Obj:
    return {key: value for key, value in config.items() if value}
