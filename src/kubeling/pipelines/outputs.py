"""The outputs of DAGs and loops, taken from their tasks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kubeling.pipelines.ir import ComponentSpec, DagSpec, Selector
from kubeling.pipelines.nodes import ArtifactRef, Outputs, TaskNode

__all__ = ["OutputError", "dag_outputs", "loop_outputs"]


class OutputError(ValueError):
    """An output has no source; the message names it."""


def dag_outputs(dag: DagSpec, task: Callable[[str], TaskNode]) -> Outputs:
    """The outputs of a DAG whose tasks have ended; of several branches, the one that ran."""
    parameters: dict[str, Any] = {}
    for name, output in dag.outputs.parameters.items():
        producer = _branch(name, output.selectors, task)
        if producer is not None:
            key = producer[0].output_parameter_key
            if key in producer[1].outputs.parameters:
                parameters[name] = producer[1].outputs.parameters[key]
    artifacts: dict[str, list[ArtifactRef]] = {}
    for name, selected in dag.outputs.artifacts.items():
        producer = _branch(name, selected.artifact_selectors, task)
        if producer is not None:
            key = producer[0].output_artifact_key
            if key in producer[1].outputs.artifacts:
                artifacts[name] = producer[1].outputs.artifacts[key]
    return Outputs(parameters, artifacts)


def loop_outputs(component: ComponentSpec, iterations: Sequence[TaskNode]) -> Outputs:
    """The outputs of a loop: lists in the order of its items, those of inner loops in sequence."""
    nested = _nested_loops(component)
    parameters: dict[str, Any] = {}
    for name in component.output_definitions.parameters:
        values = [i.outputs.parameters[name] for i in iterations if name in i.outputs.parameters]
        if name in nested:
            values = [value for inner in values for value in inner]
        parameters[name] = values
    artifacts = {
        name: [a for i in iterations for a in i.outputs.artifacts.get(name, ())]
        for name in component.output_definitions.artifacts
    }
    return Outputs(parameters, artifacts)


def _branch(
    name: str, selectors: Sequence[Selector], task: Callable[[str], TaskNode]
) -> tuple[Selector, TaskNode] | None:
    for selector in selectors:
        producer = task(selector.producer_subtask)
        if producer.state == "SUCCEEDED":
            return selector, producer
    if len(selectors) > 1:
        tried = ", ".join(selector.producer_subtask for selector in selectors)
        raise OutputError(f'output "{name}": none of its branches ran ({tried})')
    return None


def _nested_loops(component: ComponentSpec) -> frozenset[str]:
    dag = component.dag
    if dag is None:
        return frozenset()
    return frozenset(
        name
        for name, output in dag.outputs.parameters.items()
        if any(dag.tasks[s.producer_subtask].is_loop for s in output.selectors)
    )
