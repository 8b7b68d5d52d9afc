"""Tasks and artifacts as messages of the API that upstream plans (KEP-12147). Pure.

Its protos are in ``proposals/12147-mlmd-removal/protos``. Beyond them a task says ``state`` with
``CACHED``, its ``path`` and its ``attempt``, an artifact its ``schema_title`` and ``digest``; the
view ``VALUES`` has parameters as they are instead of as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.wire import compact, wire_time
from kubeling.pipelines.ir import TaskSpec
from kubeling.pipelines.nodes import ArtifactRef, Inputs, Outputs, TaskNode, task_id

__all__ = ["ARTIFACT_TYPES", "artifact_message", "artifact_type", "task_message", "task_values"]

Producers = Mapping[str, tuple[str, str]]

ARTIFACT_TYPES: Final = {
    "system.Artifact": "Artifact",
    "system.Model": "Model",
    "system.Dataset": "Dataset",
    "system.HTML": "HTML",
    "system.Markdown": "Markdown",
    "system.Metrics": "Metric",
    "system.ClassificationMetrics": "ClassificationMetric",
    "system.SlicedClassificationMetrics": "SlicedClassificationMetric",
}
"""Types of the protos by the titles that pipelines use; all others are artifacts."""

_GROUPS: Final = (
    ("condition-branches", "CONDITION_BRANCH"),
    ("condition-", "CONDITION"),
    ("exit-handler", "EXIT_HANDLER"),
)


def artifact_type(title: str) -> str:
    """The proto's type for a schema title."""
    return ARTIFACT_TYPES.get(title, "Artifact")


def artifact_message(row: Any) -> Obj:
    """An artifact from its row."""
    return compact(
        artifact_id=str(row.artifact_id),
        name=row.name,
        description=row.description,
        type=artifact_type(row.type),
        schema_title=row.type,
        uri=row.uri,
        digest=row.digest,
        metadata=row.metadata,
        number_value=row.number_value,
        namespace=row.namespace,
        created_at=wire_time(row.created_at),
    )


def task_message(run_id: str, node: TaskNode, spec: TaskSpec | None) -> Obj:
    """A task; ``spec`` says which tasks its inputs come from."""
    parameters, artifacts = _producers(spec)
    message = _task(run_id, node)
    message |= compact(
        inputs=compact(
            parameters=_parameters(node.inputs, parameters),
            artifacts=_artifacts(node.inputs, artifacts),
        ),
        outputs=compact(
            parameters=_parameters(node.outputs, {}),
            artifacts=_artifacts(
                node.outputs, {key: (node.name, key) for key in node.outputs.artifacts}
            ),
        ),
    )
    return message


def task_values(run_id: str, node: TaskNode) -> Obj:
    """A task with its parameters as they are."""
    return _task(run_id, node) | compact(inputs=_side(node.inputs), outputs=_side(node.outputs))


def _task(run_id: str, node: TaskNode) -> Obj:
    return compact(
        task_id=task_id(run_id, node.path),
        run_id=run_id,
        path=node.path,
        name=node.name,
        display_name=node.display_name,
        type=_kind(node),
        type_attributes=compact(
            iteration_index=None if node.iteration is None else str(node.iteration),
            iteration_count=None if node.items is None else str(len(node.items)),
        ),
        status=node.state,
        state="CACHED" if node.cached_from else node.state,
        status_metadata=compact(message=node.message, cache=node.cache),
        attempt=node.attempt,
        iteration=None if node.iteration is None else {"index": node.iteration},
        pods=[{"name": node.pod, "type": "EXECUTOR"}] if node.pod else None,
        cache_fingerprint=node.fingerprint,
        cached_from=node.cached_from,
        parent_task_id="" if node.is_root else task_id(run_id, node.parent),
        create_time=wire_time(node.created_at),
        start_time=wire_time(node.started_at),
        end_time=wire_time(node.finished_at),
        error=_error(node),
    )


def _kind(node: TaskNode) -> str:
    if node.is_root:
        return "ROOT"
    if node.iteration is not None:
        return "LOOP_ITERATION"
    match node.kind:
        case "loop":
            return "LOOP"
        case "dag":
            return next((kind for start, kind in _GROUPS if node.name.startswith(start)), "DAG")
        case _:
            return "RUNTIME"


def _error(node: TaskNode) -> Obj | None:
    if node.error is None:
        return None
    found: Obj = {"code": node.error.code, "message": node.error.message}
    if node.error.exit_code is not None:
        found["exit_code"] = node.error.exit_code
    return found


def _producers(spec: TaskSpec | None) -> tuple[Producers, Producers]:
    """By input: the task of the same DAG that makes it, and its key there."""
    if spec is None:
        return {}, {}
    parameters = {
        name: (found.producer_task, found.output_parameter_key)
        for name, given in spec.inputs.parameters.items()
        if (found := given.task_output_parameter) is not None
    }
    artifacts = {
        name: (found.producer_task, found.output_artifact_key)
        for name, given in spec.inputs.artifacts.items()
        if (found := given.task_output_artifact) is not None
    }
    return parameters, artifacts


def _producer(name: str, producers: Producers) -> Obj | None:
    found = producers.get(name)
    return None if found is None else {"task_name": found[0], "key": found[1]}


def _parameters(side: Inputs | Outputs, producers: Producers) -> list[Obj]:
    return [
        {"name": name, "value": _text(value)} | compact(producer=_producer(name, producers))
        for name, value in side.parameters.items()
    ]


def _artifacts(side: Inputs | Outputs, producers: Producers) -> list[Obj]:
    return [
        compact(
            parameter_name=name,
            value=_reference(artifact) | {"type": artifact_type(artifact.type)},
            producer=_producer(name, producers),
        )
        for name, found in side.artifacts.items()
        for artifact in found
    ]


def _side(side: Inputs | Outputs) -> Obj:
    artifacts = {name: [_reference(a) for a in found] for name, found in side.artifacts.items()}
    return compact(parameters=side.parameters, artifacts=artifacts)


def _reference(artifact: ArtifactRef) -> Obj:
    return compact(
        artifact_id=str(artifact.id),
        name=artifact.name,
        type=artifact.type,
        uri=artifact.uri,
        metadata=artifact.metadata,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
