"""What a run does next: a pure function of its spec, its nodes and what was seen of its pods.

A node that waits looks whether its upstream has ended; a DAG or a loop ends when its tasks have; a
container goes through the stages cache, launch, pod, backoff. Whoever ends tells the group it
belongs to, which looks at those that waited for it: an event costs the same in a run of ten tasks
and of ten thousand. What needs something from outside is in :class:`Actions`. There are no driver
pods: DAGs, conditions, loops and importers cost nothing but that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.bindings import (
    BindingError,
    Surroundings,
    complete,
    platform_value,
)
from kubeling.pipelines.cache_misses import Parts, key_parts
from kubeling.pipelines.caching import fingerprint, why_not_cached
from kubeling.pipelines.dags import Dags
from kubeling.pipelines.frontier import Frontier
from kubeling.pipelines.importing import imported_artifact
from kubeling.pipelines.ir import ComponentSpec, DagSpec, PipelineSpec, TaskSpec
from kubeling.pipelines.ir_executors import ContainerSpec
from kubeling.pipelines.kubernetes import claim_names, settings_of
from kubeling.pipelines.loops import Loops
from kubeling.pipelines.nodes import Inputs, NodeState, Outputs, TaskError, TaskNode, child_path
from kubeling.pipelines.retrying import next_attempt
from kubeling.pipelines.run_facts import RunFacts
from kubeling.pipelines.sightings import CacheSeen, PodSeen, Sighting
from kubeling.pipelines.stopping import Stopping

__all__ = ["Actions", "Execution"]

_RECENT: Final = dt.timedelta(seconds=2)


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
        self,
        spec: PipelineSpec,
        facts: RunFacts,
        nodes: dict[str, TaskNode],
        epoch: int = 0,
        platform: Obj | None = None,
        identify: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.spec = spec
        self.facts = facts
        self.nodes = nodes
        self.epoch = epoch
        self.platform = platform or {}
        self._identify = identify
        self.terminating = False
        self.overdue = False
        self.changed: set[str] = set()
        self.key_parts: dict[str, Parts] = {}
        """By path, what the keys of tasks under way were made from."""
        self.unexplained: set[str] = set()
        """Tasks whose keys the cache does not know, and nobody has said yet why."""
        self.now = dt.datetime.min
        self.frontier = Frontier()
        self.frontier.count(nodes.values())
        self.dags = Dags(self)
        self.loops = Loops(self)
        self._ending = Stopping(self)
        self._entered = False

    @property
    def root(self) -> TaskNode:
        """The node of the run itself."""
        return self.nodes[""]

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to begin but what cleans up."""
        return self.terminating or self.overdue

    def advance(self, now: dt.datetime, seen: Iterable[Sighting] = ()) -> Actions:
        """Takes in what was seen and settles everything that follows from it."""
        self.now = now
        self._enter_run()
        for sighting in seen:
            node = self.nodes.get(sighting.path)
            if node is not None and not node.final:
                self._take(node, sighting)
        actions = Actions()
        self._ending.watch_deadline(actions)
        if self.stopping:
            self._ending.stop(actions)
        self._settle()
        for node in list(self.frontier.due.values()):
            self._look_at(node, actions)
        return actions

    def task_of(self, node: TaskNode) -> TaskSpec:
        """What the spec says about a task; an iteration has its loop's."""
        if node.is_root:
            return TaskSpec()
        if node.iteration is not None:
            return self.task_of(self.nodes[node.parent])
        return self.dag_of(self.nodes[node.parent]).tasks[node.name]

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

    def dag_of(self, node: TaskNode) -> DagSpec:
        dag = self.component_of(node).dag
        assert dag is not None, f"{node.path} is no DAG"
        return dag

    # News from outside.

    def _take(self, node: TaskNode, sighting: Sighting) -> None:
        match sighting:
            case CacheSeen():
                if node.stage == "cache":
                    self._take_cache(node, sighting)
            case PodSeen():
                if (sighting.attempt, sighting.epoch) == (node.attempt, node.epoch):
                    self._take_pod(node, sighting)
        self.frontier.place(node)

    def _take_cache(self, node: TaskNode, seen: CacheSeen) -> None:
        node.cache = seen.reason
        if seen.outputs is None:
            node.stage = "launch"
            if seen.unknown:
                self.unexplained.add(node.path)
            self.touch(node)
            return
        node.cached_from = seen.task_id
        node.started_at = self.now
        node.outputs = seen.outputs
        self.end(node, "SUCCEEDED")

    def _take_pod(self, node: TaskNode, seen: PodSeen) -> None:
        if node.stage not in ("launch", "pod"):
            return
        before = (node.stage, node.pod, node.started_at, node.message, node.state)
        node.stage = "pod"
        node.pod = seen.pod
        if seen.started_at is not None and node.created_at is not None:
            node.started_at = max(seen.started_at, node.created_at)
        node.message = seen.waiting
        match seen.phase:
            case "Running":
                node.state = "RUNNING"
            case "Succeeded":
                node.outputs, node.error = seen.outputs, None
                self.end(node, "SUCCEEDED", at=seen.finished_at)
            case "Failed":
                self._take_failure(node, seen)
            case _:
                pass
        if before != (node.stage, node.pod, node.started_at, node.message, node.state):
            self.touch(node)

    def _take_failure(self, node: TaskNode, seen: PodSeen) -> None:
        node.error = seen.error
        if self.halted(node):
            self.end(node, "CANCELED", at=seen.finished_at)
        elif not seen.may_retry or not self.try_again(node):
            self.end(node, "FAILED", at=seen.finished_at)

    def try_again(self, node: TaskNode) -> bool:
        """Whether a node that failed is to be tried again, after its pause."""
        policy = self.task_of(node).retry_policy
        again = next_attempt(policy, node.attempt - node.first_attempt, self.now)
        if again is None:
            return False
        node.attempt += 1
        node.stage, node.state, node.retry_at = "backoff", "PENDING", again
        self.touch(node)
        return True

    # Beginning, and going on after a restart.

    def _enter_run(self) -> None:
        if self._entered:
            return
        self._entered = True
        if "" not in self.nodes:
            self._begin()
        elif not self.root.final:
            self.enter(self.root)

    def _begin(self) -> None:
        root = TaskNode("", "", self.facts.display_name, kind="dag", epoch=self.epoch)
        root.created_at = root.started_at = self.now
        self.nodes[""] = root
        try:
            root.inputs = complete(Inputs(dict(self.facts.parameters)), self.spec.root)
            self._refuse_unknown()
        except BindingError as error:
            self.fail(root, str(error))
            return
        self.dags.open(root)

    def _refuse_unknown(self) -> None:
        known = self.spec.root.input_definitions.parameters
        if unknown := sorted(self.facts.parameters.keys() - known.keys()):
            has = ", ".join(sorted(known)) or "none"
            raise BindingError(f'the pipeline has no parameter "{unknown[0]}" (it has: {has})')

    def enter(self, node: TaskNode) -> None:
        """Takes up a node that is under way, from what its row says."""
        if node.kind == "loop":
            self.loops.resume(node, self.task_of(node))
        elif node.kind == "dag" and node.stage != "backoff":
            self.dags.open(node)
        else:
            self.frontier.place(node)

    def add(
        self, path: str, name: str, task: TaskSpec, parent: TaskNode, iteration: int | None = None
    ) -> TaskNode:
        """A new node below another."""
        shown = task.task_info.name or name
        node = TaskNode(
            path,
            name,
            shown if iteration is None else f"{shown}({iteration})",
            task.component_ref.name,
            parent.path,
            iteration,
            epoch=self.epoch,
            created_at=self.now,
        )
        self.nodes[path] = node
        self.frontier.leaves += 1
        self.touch(node)
        return node

    # Starting tasks.

    def start(self, node: TaskNode, task: TaskSpec, component: ComponentSpec) -> None:
        """Begins a task or an iteration whose inputs are there."""
        self.touch(node)
        if task.is_loop and node.iteration is None:
            self._set_group(node, "loop")
            self.loops.begin(node, task)
            return
        if component.dag is not None:
            self._set_group(node, "dag")
            self.dags.open(node)
            return
        executor = self.spec.executor_of(component)
        if executor.importer is not None:
            node.kind, node.started_at = "importer", self.now
            artifact = imported_artifact(executor.importer, node, self.facts, self._identify)
            node.outputs = Outputs(
                artifacts={name: [artifact] for name in component.output_definitions.artifacts}
            )
            self.end(node, "SUCCEEDED")
            return
        assert executor.container is not None
        node.kind, node.stage = "container", "launch"
        self._ask_cache(node, task, component, executor.container)
        self.frontier.place(node)

    def _set_group(self, node: TaskNode, kind: str) -> None:
        if node.kind not in ("dag", "loop") and not node.is_root:
            self.frontier.leaves -= 1
        node.kind = "loop" if kind == "loop" else "dag"

    def _ask_cache(
        self, node: TaskNode, task: TaskSpec, component: ComponentSpec, container: ContainerSpec
    ) -> None:
        off = why_not_cached(task, component, self.facts.cache, self._groups(node))
        if off:
            node.cache = f"not cached: {off}"
            return
        settings = settings_of(self.platform, component.executor_label)
        around = self.around(node)
        pipeline = self.spec.pipeline_info.name
        claims = claim_names(settings, lambda source: platform_value(source, around))
        node.stage = "cache"
        node.fingerprint = fingerprint(pipeline, task, component, container, node.inputs, claims)
        self.key_parts[node.path] = key_parts(pipeline, component, container, node.inputs, claims)

    def _groups(self, node: TaskNode) -> Iterator[tuple[str, TaskSpec]]:
        """The groups that a task is in, from the inside out."""
        while not (node := self.nodes[node.parent]).is_root:
            yield node.display_name, self.task_of(node)

    # Settling what follows from ends.

    def _settle(self) -> None:
        ended = self.frontier.ended
        while ended:
            node = ended.popleft()
            if node.is_root:
                continue
            parent = self.nodes[node.parent]
            if parent.kind == "loop":
                self.loops.iteration_ended(parent, self.task_of(parent))
            elif parent.path in self.frontier.unfinished:
                self.dags.task_ended(parent, node)

    # Containers, and groups that are to be tried again.

    def _look_at(self, node: TaskNode, actions: Actions) -> None:
        if node.stage == "backoff" and node.retry_at is not None:
            if node.retry_at > self.now:
                actions.wake(node.retry_at)
                return
            node.retry_at = None
            self.touch(node)
            if node.kind == "dag":
                self.dags.reopen(node)
                actions.wake(self.now)
                return
            node.stage = "launch"
        match node.stage:
            case "cache":
                actions.look_up.append(node)
            case "launch":
                actions.launch.append(node)
            case _:
                self.frontier.place(node)

    # Endings.

    def halted(self, node: TaskNode) -> bool:
        """Whether a node that has begun is not to go on."""
        return self._ending.halted(node)

    def may_yet_begin(self, node: TaskNode, task: TaskSpec, upstream: Iterable[TaskNode]) -> bool:
        """Whether a task of a stopping run begins all the same."""
        return self._ending.may_yet_begin(node, task, upstream)

    def fail(self, node: TaskNode, message: str) -> None:
        """Ends a node that cannot go on."""
        node.error = TaskError(message)
        self.end(node, "FAILED")

    def skip(self, node: TaskNode, reason: str) -> None:
        """Ends a node that is not to run."""
        node.message = reason
        self.end(node, "SKIPPED")

    def end(self, node: TaskNode, state: NodeState, *, at: dt.datetime | None = None) -> None:
        """Pods tell times in whole seconds; what has just happened is timed by the clock."""
        node.state, node.stage = state, "end"
        recent = at is None or self.now - at < _RECENT
        node.finished_at = self.now if recent else at
        node.started_at = node.started_at or node.finished_at
        self.touch(node)
        self.frontier.place(node)
        self.frontier.ended.append(node)
        if node.kind not in ("dag", "loop"):
            self.frontier.leaves_ended += 1

    def forget_keys(self, stored: Iterable[TaskNode]) -> None:
        """What keys of tasks that have ended were made from is stored now."""
        for node in stored:
            if node.final:
                self.key_parts.pop(node.path, None)

    def touch(self, node: TaskNode) -> None:
        self.changed.add(node.path)
