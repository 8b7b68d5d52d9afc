"""What a run does next: a pure function of its spec, its nodes and what was seen of its pods.

The execution walks the tree of nodes from the run down. A node that waits looks whether its
upstream has ended; a DAG or a loop ends when its tasks have; a container goes through the stages
cache, launch, pod, backoff. One walk settles everything that needs nothing from outside, and says
in :class:`Actions` what does. There are no driver pods: DAGs, conditions, loops and importers cost
nothing but the walk.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.pipelines.bindings import BindingError, Surroundings, bind_inputs, complete
from kubeling.pipelines.caching import fingerprint, may_cache
from kubeling.pipelines.expressions import ExpressionError, evaluate_condition
from kubeling.pipelines.importing import imported_artifact
from kubeling.pipelines.ir import ComponentSpec, DagSpec, PipelineSpec, TaskSpec
from kubeling.pipelines.nodes import (
    ArtifactRef,
    Inputs,
    NodeState,
    Outputs,
    TaskError,
    TaskNode,
    child_path,
    task_id,
)
from kubeling.pipelines.outputs import OutputError, dag_outputs, loop_outputs
from kubeling.pipelines.placeholders import PlaceholderError
from kubeling.pipelines.retrying import next_attempt
from kubeling.pipelines.sightings import CacheSeen, PodSeen, Sighting
from kubeling.pipelines.values import normalize, to_text

__all__ = ["Actions", "Execution", "RunFacts"]

_RECENT: Final = dt.timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's tasks may know about it."""

    run_id: str
    name: str
    namespace: str
    display_name: str
    created_at: str
    scheduled_at: str
    folder: str
    parameters: dict[str, Any] = field(default_factory=dict)
    pipeline_root: str = ""

    def job(self, node: TaskNode) -> dict[str, str]:
        """Values of the placeholders about the run."""
        return {
            "pipeline_job_name": self.display_name,
            "pipeline_job_resource_name": self.name,
            "pipeline_job_uuid": self.run_id,
            "pipeline_job_create_time_utc": self.created_at,
            "pipeline_job_schedule_time_utc": self.scheduled_at or self.created_at,
            "pipeline_task_name": node.name,
            "pipeline_task_uuid": task_id(self.run_id, node.path),
            "pipeline_root": self.pipeline_root or self.folder,
            "workspace_path": "/kfp-workspace",
        }


@dataclass(slots=True)
class Actions:
    """What has to be done outside, and when to look again."""

    look_up: list[TaskNode] = field(default_factory=list)
    launch: list[TaskNode] = field(default_factory=list)
    stop: list[TaskNode] = field(default_factory=list)
    wake_at: dt.datetime | None = None

    def wake(self, moment: dt.datetime) -> None:
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)


class Execution:
    """A run under way. ``nodes`` is all its state; ``changed`` names those not yet stored."""

    def __init__(
        self, spec: PipelineSpec, facts: RunFacts, nodes: dict[str, TaskNode], epoch: int = 0
    ) -> None:
        self.spec = spec
        self.facts = facts
        self.nodes = nodes
        self.epoch = epoch
        self.terminating = False
        self.changed: set[str] = set()
        self._now = dt.datetime.min
        self._actions = Actions()

    @property
    def root(self) -> TaskNode:
        """The node of the run itself."""
        return self.nodes[""]

    def advance(self, now: dt.datetime, seen: Iterable[Sighting] = ()) -> Actions:
        """Takes in what was seen and walks the tree once."""
        self._now = now
        self._actions = Actions()
        for sighting in seen:
            node = self.nodes.get(sighting.path)
            if node is not None and not node.final:
                self._take(node, sighting)
        if "" not in self.nodes:
            self._begin()
        if not self.root.final:
            self._step(self.root)
        return self._actions

    def task_of(self, node: TaskNode) -> TaskSpec:
        """What the spec says about a task; an iteration has its loop's."""
        if node.is_root:
            return TaskSpec()
        if node.iteration is not None:
            return self.task_of(self.nodes[node.parent])
        return self._dag(self.nodes[node.parent]).tasks[node.name]

    def component_of(self, node: TaskNode) -> ComponentSpec:
        return self.spec.root if node.is_root else self.spec.components[node.component]

    def around(self, node: TaskNode) -> Surroundings:
        """What a task's inputs refer to."""
        parent = self.nodes[node.parent]
        return Surroundings(
            parent.inputs,
            lambda name: self.nodes[child_path(parent.path, name)],
            self.root.inputs.parameters,
            self.facts.name,
            self.facts.job(node),
        )

    # News from outside.

    def _take(self, node: TaskNode, sighting: Sighting) -> None:
        match sighting:
            case CacheSeen():
                if node.stage == "cache":
                    self._take_cache(node, sighting)
            case PodSeen():
                if (sighting.attempt, sighting.epoch) == (node.attempt, node.epoch):
                    self._take_pod(node, sighting)

    def _take_cache(self, node: TaskNode, seen: CacheSeen) -> None:
        node.cache = seen.reason
        if seen.outputs is None:
            node.stage = "launch"
            self._touch(node)
            return
        node.cached_from = seen.task_id
        node.started_at = self._now
        node.outputs = seen.outputs
        self._end(node, "SUCCEEDED")

    def _take_pod(self, node: TaskNode, seen: PodSeen) -> None:
        if node.stage not in ("launch", "pod"):
            return
        node.stage = "pod"
        node.pod = seen.pod
        if seen.started_at is not None and node.created_at is not None:
            node.started_at = max(seen.started_at, node.created_at)
        node.message = seen.waiting
        self._touch(node)
        match seen.phase:
            case "Running":
                node.state = "RUNNING"
            case "Succeeded":
                node.outputs = seen.outputs
                self._end(node, "SUCCEEDED", at=seen.finished_at)
            case "Failed":
                self._take_failure(node, seen)
            case _:
                pass

    def _take_failure(self, node: TaskNode, seen: PodSeen) -> None:
        node.error = seen.error
        if self.terminating:
            self._end(node, "CANCELED", at=seen.finished_at)
            return
        again = next_attempt(self.task_of(node).retry_policy, node.attempt, self._now)
        if again is None or not seen.may_retry:
            self._end(node, "FAILED", at=seen.finished_at)
            return
        node.attempt += 1
        node.stage, node.state, node.retry_at = "backoff", "PENDING", again

    # The walk.

    def _begin(self) -> None:
        root = TaskNode("", "", self.facts.display_name, kind="dag", epoch=self.epoch)
        root.created_at = root.started_at = self._now
        root.state = "RUNNING"
        self.nodes[""] = root
        self._touch(root)
        try:
            root.inputs = complete(Inputs(dict(self.facts.parameters)), self.spec.root)
            self._refuse_unknown()
        except BindingError as error:
            self._fail(root, str(error))
            return
        self._open(root, self._dag(root))

    def _refuse_unknown(self) -> None:
        known = self.spec.root.input_definitions.parameters
        if unknown := sorted(self.facts.parameters.keys() - known.keys()):
            has = ", ".join(sorted(known)) or "none"
            raise BindingError(f'the pipeline has no parameter "{unknown[0]}" (it has: {has})')

    def _step(self, node: TaskNode) -> None:
        if node.kind == "loop":
            self._step_loop(node)
        elif node.kind == "dag":
            self._step_dag(node)
        else:
            self._step_container(node)

    def _step_dag(self, node: TaskNode) -> None:
        dag = self._dag(node)
        if node.stage != "open":
            self._open(node, dag)
        children = []
        for name in dag.order:
            child = self.nodes[child_path(node.path, name)]
            if child.stage == "wait" and not child.final:
                self._consider(node, child, dag)
            if not child.final and child.stage != "wait":
                self._step(child)
            children.append(child)
        if all(child.final for child in children):
            self._end_dag(node, children)

    def _end_dag(self, node: TaskNode, children: Sequence[TaskNode]) -> None:
        failed = next((c for c in children if c.state == "FAILED"), None)
        if failed is not None:
            why = failed.error.summary if failed.error else ""
            self._fail(node, f"task {failed.display_name} failed: {why}".rstrip(": "))
        elif any(child.state == "CANCELED" for child in children):
            self._end(node, "CANCELED")
        else:
            try:
                node.outputs = dag_outputs(
                    self._dag(node), lambda name: self.nodes[child_path(node.path, name)]
                )
            except OutputError as error:
                self._fail(node, str(error))
            else:
                self._end(node, "SUCCEEDED")

    def _consider(self, parent: TaskNode, child: TaskNode, dag: DagSpec) -> None:
        """Starts a waiting task if its upstream has ended, or settles that it never will."""
        task = dag.tasks[child.name]
        upstream = [self.nodes[child_path(parent.path, name)] for name in sorted(task.upstream)]
        if self.terminating and not (task.runs_after_failure and _has_run(upstream)):
            self._end(child, "CANCELED")
            return
        if not all(before.final for before in upstream):
            return
        if not task.runs_after_failure:
            missing = next((b for b in upstream if b.state != "SUCCEEDED"), None)
            if missing is not None:
                word = {"FAILED": "failed", "CANCELED": "was canceled"}.get(
                    missing.state, "was skipped"
                )
                self._skip(child, f"upstream task {missing.display_name} {word}")
                return
        component = self.spec.components[child.component]
        try:
            child.inputs = bind_inputs(task, component, self.around(child))
            if not self._is_triggered(task, child.inputs):
                self._skip(child, f"condition is false: {task.trigger_policy.condition}")
                return
            self._start(child, task, component)
        except (BindingError, ExpressionError, PlaceholderError) as error:
            self._fail(child, str(error))

    def _is_triggered(self, task: TaskSpec, inputs: Inputs) -> bool:
        if not task.trigger_policy.condition:
            return True
        values = {"parameter_values": normalize(inputs.parameters)}
        return evaluate_condition(task.trigger_policy.condition, {"inputs": values})

    def _start(self, node: TaskNode, task: TaskSpec, component: ComponentSpec) -> None:
        self._touch(node)
        if task.is_loop and node.iteration is None:
            node.kind, node.stage, node.state = "loop", "open", "RUNNING"
            node.started_at = self._now
            node.items = self._items(node, task)
            return
        if component.dag is not None:
            node.kind = "dag"
            self._open(node, component.dag)
            return
        executor = self.spec.executor_of(component)
        if executor.importer is not None:
            node.kind, node.started_at = "importer", self._now
            artifact = imported_artifact(executor.importer, node, self.facts)
            node.outputs = Outputs(
                artifacts={name: [artifact] for name in component.output_definitions.artifacts}
            )
            self._end(node, "SUCCEEDED")
            return
        node.kind, node.stage = "container", "launch"
        if may_cache(task, component) and executor.container is not None:
            node.stage = "cache"
            node.fingerprint = fingerprint(
                self.spec.pipeline_info.name, task, component, executor.container, node.inputs
            )

    def _open(self, node: TaskNode, dag: DagSpec) -> None:
        node.stage, node.state = "open", "RUNNING"
        node.started_at = node.started_at or self._now
        self._touch(node)
        for name in dag.order:
            path = child_path(node.path, name)
            if path not in self.nodes:
                task = dag.tasks[name]
                self._add(path, name, task, node)

    def _add(
        self, path: str, name: str, task: TaskSpec, parent: TaskNode, iteration: int | None = None
    ) -> TaskNode:
        shown = task.task_info.name or name
        node = TaskNode(
            path,
            name,
            shown if iteration is None else f"{shown}({iteration})",
            task.component_ref.name,
            parent.path,
            iteration,
            epoch=self.epoch,
            created_at=self._now,
        )
        self.nodes[path] = node
        self._touch(node)
        return node

    # Loops.

    def _items(self, node: TaskNode, task: TaskSpec) -> list[Any]:
        if (over := task.artifact_iterator) is not None:
            return list(node.inputs.artifacts.get(over.items.input_artifact) or ())
        assert task.parameter_iterator is not None
        items = task.parameter_iterator.items
        value: Any = items.raw
        if items.input_parameter:
            value = node.inputs.parameters.get(items.input_parameter)
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                raise BindingError(f"loop items: a JSON list is expected, not {value!r}") from None
        if not isinstance(value, list):
            raise BindingError(f"loop items: a list is expected, not {to_text(value)}")
        return [normalize(item) for item in value]

    def _step_loop(self, node: TaskNode) -> None:
        task = self.task_of(node)
        items = node.items or []
        limit = task.iterator_policy.parallelism_limit or len(items)
        iterations = []
        active = 0
        for number, item in enumerate(items):
            path = child_path(node.path, number)
            iteration = self.nodes.get(path)
            if iteration is None:
                if active >= limit or self.terminating:
                    break
                iteration = self._iterate(node, task, number, item)
            if not iteration.final:
                self._step(iteration)
            active += not iteration.final
            iterations.append(iteration)
        started = len(iterations) == len(items)
        if (started or self.terminating) and all(i.final for i in iterations):
            self._end_loop(node, iterations, complete=started)

    def _iterate(self, node: TaskNode, task: TaskSpec, number: int, item: Any) -> TaskNode:
        child = self._add(child_path(node.path, number), node.name, task, node, number)
        component = self.spec.components[node.component]
        inputs = Inputs(dict(node.inputs.parameters), dict(node.inputs.artifacts))
        if task.artifact_iterator is not None:
            artifact = msgspec.convert(item, ArtifactRef)
            inputs.artifacts[task.artifact_iterator.item_input] = [artifact]
        elif task.parameter_iterator is not None:
            inputs.parameters[task.parameter_iterator.item_input] = item
        try:
            child.inputs = complete(inputs, component)
            self._start(child, task, component)
        except (BindingError, PlaceholderError) as error:
            self._fail(child, str(error))
        return child

    def _end_loop(self, node: TaskNode, iterations: Sequence[TaskNode], *, complete: bool) -> None:
        failed = [i for i in iterations if i.state == "FAILED"]
        if failed:
            why = failed[0].error.summary if failed[0].error else ""
            text = f"{len(failed)} of {len(node.items or ())} iterations failed; first: {why}"
            self._fail(node, text)
        elif not complete or any(i.state == "CANCELED" for i in iterations):
            self._end(node, "CANCELED")
        else:
            node.outputs = loop_outputs(self.component_of(node), iterations)
            self._end(node, "SUCCEEDED")

    # Containers.

    def _step_container(self, node: TaskNode) -> None:
        if self.terminating and not self._is_last_rite(node):
            if node.stage == "pod":
                self._actions.stop.append(node)
            else:
                self._end(node, "CANCELED")
            return
        if node.stage == "backoff" and node.retry_at is not None:
            if node.retry_at <= self._now:
                node.stage, node.retry_at = "launch", None
                self._touch(node)
            else:
                self._actions.wake(node.retry_at)
        if node.stage == "cache":
            self._actions.look_up.append(node)
        elif node.stage == "launch":
            self._actions.launch.append(node)

    def _is_last_rite(self, node: TaskNode) -> bool:
        """Whether this is an exit task: it runs also when the run is terminated."""
        return node.iteration is None and self.task_of(node).runs_after_failure

    # Endings.

    def _fail(self, node: TaskNode, message: str) -> None:
        node.error = TaskError(message)
        self._end(node, "FAILED")

    def _skip(self, node: TaskNode, reason: str) -> None:
        node.message = reason
        self._end(node, "SKIPPED")

    def _end(self, node: TaskNode, state: NodeState, *, at: dt.datetime | None = None) -> None:
        """Pods tell times in whole seconds; what has just happened is timed by the clock."""
        node.state, node.stage = state, "end"
        recent = at is None or self._now - at < _RECENT
        node.finished_at = self._now if recent else at
        node.started_at = node.started_at or node.finished_at
        self._touch(node)

    def _touch(self, node: TaskNode) -> None:
        self.changed.add(node.path)

    def _dag(self, node: TaskNode) -> DagSpec:
        dag = self.component_of(node).dag
        assert dag is not None, f"{node.path} is no DAG"
        return dag


def _has_run(upstream: Iterable[TaskNode]) -> bool:
    """Whether an exit task has something to clean up after."""
    return any(node.kind for node in upstream)
