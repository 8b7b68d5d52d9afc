"""Loops: one iteration per item, as many at once as the limit allows."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from kubeling.pipelines.bindings import BindingError, complete
from kubeling.pipelines.frontier import LoopProgress
from kubeling.pipelines.ir import ComponentSpec, TaskSpec
from kubeling.pipelines.nodes import ArtifactRef, Inputs, TaskNode, child_path
from kubeling.pipelines.outputs import loop_outputs
from kubeling.pipelines.placeholders import PlaceholderError
from kubeling.pipelines.values import normalize, to_text

if TYPE_CHECKING:
    from kubeling.pipelines.execution import Execution

__all__ = ["Loops", "loop_items"]


class Loops:
    """The loops of an execution."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def begin(self, node: TaskNode, task: TaskSpec) -> None:
        """Opens a loop whose inputs are there; raises :class:`BindingError`."""
        node.items = loop_items(node, task)
        node.stage, node.state = "open", "RUNNING"
        node.started_at = self._execution.now
        self.resume(node, task)

    def resume(self, node: TaskNode, task: TaskSpec) -> None:
        """Takes up a loop where its iterations are."""
        nodes = self._execution.nodes
        numbers = range(len(node.items or ()))
        unfinished = (n for n in numbers if not _is_final(nodes.get(child_path(node.path, n))))
        self._execution.frontier.loops[node.path] = LoopProgress(deque(unfinished))
        self._fill(node, task)
        self.end_if_done(node)

    def iteration_ended(self, node: TaskNode, task: TaskSpec) -> None:
        """Lets the next one begin."""
        progress = self._execution.frontier.loops.get(node.path)
        if progress is not None:
            progress.active -= 1
            self._fill(node, task)
            self.end_if_done(node)

    def end_if_done(self, node: TaskNode) -> None:
        """Ends a loop of which nothing is under way and nothing will be."""
        progress = self._execution.frontier.loops.get(node.path)
        if progress is None or progress.active:
            return
        if progress.waiting and not self._execution.halted(node):
            return
        del self._execution.frontier.loops[node.path]
        self._end(node, complete=not progress.waiting)

    def _fill(self, node: TaskNode, task: TaskSpec) -> None:
        progress = self._execution.frontier.loops[node.path]
        limit = task.iterator_policy.parallelism_limit
        while progress.waiting and not self._execution.halted(node):
            if limit and progress.active >= limit:
                return
            progress.active += 1
            self._enter(node, task, progress.waiting.popleft())

    def _enter(self, node: TaskNode, task: TaskSpec, number: int) -> None:
        found = self._execution.nodes.get(child_path(node.path, number))
        if found is not None and found.kind:
            self._execution.enter(found)
        else:
            self._iterate(node, task, number, found)

    def _iterate(self, node: TaskNode, task: TaskSpec, number: int, found: TaskNode | None) -> None:
        execution, item = self._execution, (node.items or [])[number]
        path = child_path(node.path, number)
        child = found or execution.add(path, node.name, task, node, number)
        component = execution.spec.components[node.component]
        inputs = Inputs(dict(node.inputs.parameters), dict(node.inputs.artifacts))
        unneeded = _unneeded(task, component)
        for name in unneeded:
            inputs.parameters.pop(name, None)
        if task.artifact_iterator is not None:
            artifact = msgspec.convert(item, ArtifactRef)
            inputs.artifacts[task.artifact_iterator.item_input] = [artifact]
        elif task.parameter_iterator is not None:
            inputs.parameters[task.parameter_iterator.item_input] = item
        try:
            child.inputs = complete(inputs, component, except_for=unneeded)
            execution.start(child, task, component)
        except (BindingError, PlaceholderError) as error:
            execution.fail(child, str(error))

    def _end(self, node: TaskNode, *, complete: bool) -> None:
        execution = self._execution
        paths = (child_path(node.path, n) for n in range(len(node.items or ())))
        iterations = [execution.nodes[path] for path in paths if path in execution.nodes]
        for iteration in iterations:
            if not iteration.final:  # of before a retry, and never taken up
                execution.end(iteration, "CANCELED")
        failed = [i for i in iterations if i.state == "FAILED"]
        if failed:
            why = failed[0].error.summary if failed[0].error else ""
            text = f"{len(failed)} of {len(node.items or ())} iterations failed; first: {why}"
            execution.fail(node, text)
        elif not complete or any(i.state == "CANCELED" for i in iterations):
            execution.end(node, "CANCELED")
        else:
            node.outputs = loop_outputs(execution.component_of(node), iterations)
            execution.end(node, "SUCCEEDED")


def loop_items(node: TaskNode, task: TaskSpec) -> list[Any]:
    """What a loop goes over; raises :class:`BindingError`."""
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


def _unneeded(task: TaskSpec, component: ComponentSpec) -> frozenset[str]:
    """The list itself, where no task of an iteration asks for it: it would be in every row."""
    iterator = task.parameter_iterator
    name = iterator.items.input_parameter if iterator is not None else ""
    if not name or component.dag is None or name in component.dag.inputs_used:
        return frozenset()
    return frozenset({name})


def _is_final(node: TaskNode | None) -> bool:
    return node is not None and node.final
