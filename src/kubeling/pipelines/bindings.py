"""Where a task's inputs come from: its own DAG's inputs, tasks beside it, constants.

Pure. A value that is not there stays ``None`` until the component says whether that is allowed, by
a default or by being optional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from kubeling.pipelines.expressions import ExpressionError, evaluate
from kubeling.pipelines.ir import (
    ArtifactInput,
    ComponentSpec,
    InputParameter,
    ParameterInput,
    TaskSpec,
)
from kubeling.pipelines.ir_values import ValueSpec
from kubeling.pipelines.nodes import ArtifactRef, Inputs, TaskNode
from kubeling.pipelines.placeholders import PlaceholderError, PlaceholderScope, resolve
from kubeling.pipelines.values import ValueMismatch, coerce, normalize, to_text

__all__ = [
    "BindingError",
    "Surroundings",
    "bind_inputs",
    "complete",
    "final_status",
    "platform_value",
    "source_value",
]

_FINAL_STATES: Final = {"SUCCEEDED": "COMPLETE", "SKIPPED": "COMPLETE"}


class BindingError(ValueError):
    """An input cannot be had; the message names it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a task's inputs may refer to."""

    inputs: Inputs
    sibling: Callable[[str], TaskNode]
    run_parameters: dict[str, Any]
    run_name: str
    job: dict[str, str]


def bind_inputs(task: TaskSpec, component: ComponentSpec, around: Surroundings) -> Inputs:
    """A task's inputs; raises :class:`BindingError`."""
    parameters = {
        name: _parameter(name, source, around) for name, source in task.inputs.parameters.items()
    }
    artifacts = {
        name: found
        for name, source in task.inputs.artifacts.items()
        if (found := _artifacts(source, around)) is not None
    }
    parameters = _self_references(parameters, around.job)
    loop_items = _item_inputs(task)
    return complete(Inputs(parameters, artifacts), component, except_for=loop_items)


def complete(
    inputs: Inputs, component: ComponentSpec, except_for: frozenset[str] = frozenset()
) -> Inputs:
    """Fills in defaults, converts to the declared types, and refuses what is missing."""
    parameters = dict(inputs.parameters)
    for name, declared in component.input_definitions.parameters.items():
        if name in except_for:
            continue
        parameters[name] = _declared(name, parameters.get(name), declared)
    for name, artifact in component.input_definitions.artifacts.items():
        if name in except_for or artifact.is_optional or inputs.artifacts.get(name):
            continue
        if not (artifact.is_artifact_list and name in inputs.artifacts):
            raise BindingError(f'input artifact "{name}" is required and nothing gives it')
    return Inputs(parameters, inputs.artifacts)


def final_status(node: TaskNode, run_name: str) -> dict[str, Any]:
    """How a task ended, as exit handlers are told."""
    error = {"code": node.error.code, "message": node.error.message} if node.error else {}
    return {
        "state": _FINAL_STATES.get(node.state, node.state),
        "pipelineJobResourceName": run_name,
        "pipelineTaskName": node.name,
        "error": error,
    }


def _item_inputs(task: TaskSpec) -> frozenset[str]:
    iterators = (task.parameter_iterator, task.artifact_iterator)
    return frozenset(iterator.item_input for iterator in iterators if iterator is not None)


def _declared(name: str, value: Any, declared: InputParameter) -> Any:
    if value is None:
        if declared.default_value is not UNSET:
            value = declared.default_value
        elif not declared.is_optional:
            raise BindingError(f'input parameter "{name}" is required and nothing gives it')
    if value is None:
        return None
    try:
        found = coerce(value, declared.kind)
    except ValueMismatch as error:
        raise BindingError(f'input parameter "{name}": {error}') from None
    if declared.literals and normalize(found) not in [normalize(v) for v in declared.literals]:
        allowed = ", ".join(to_text(normalize(v)) for v in declared.literals)
        raise BindingError(f'input parameter "{name}": {to_text(found)} is not one of {allowed}')
    return found


def _parameter(name: str, source: ParameterInput, around: Surroundings) -> Any:
    value = source_value(source, around)
    if source.parameter_expression_selector and value is not None:
        try:
            return evaluate(
                source.parameter_expression_selector,
                {"string_value": to_text(value), "value": value},
            )
        except ExpressionError as error:
            raise BindingError(f'input parameter "{name}": {error}') from None
    return value


def source_value(source: ParameterInput, around: Surroundings) -> Any:
    """What a source of a parameter gives, ``None`` if nothing."""
    if source.component_input_parameter:
        return around.inputs.parameters.get(source.component_input_parameter)
    if (output := source.task_output_parameter) is not None:
        producer = around.sibling(output.producer_task)
        return producer.outputs.parameters.get(output.output_parameter_key)
    if (status := source.task_final_status) is not None:
        return final_status(around.sibling(status.producer_task), around.run_name)
    if source.runtime_value is not None:
        return _constant(source.runtime_value, around)
    return None


def platform_value(source: Mapping[str, Any], around: Surroundings) -> Any:
    """What a source in a platform spec gives; raises :class:`PlaceholderError`."""
    try:
        parsed = msgspec.convert(source, ParameterInput)
    except msgspec.ValidationError as error:
        raise PlaceholderError(f"platform settings: {error}") from None
    return source_value(parsed, around)


def _constant(value: ValueSpec, around: Surroundings) -> Any:
    if value.runtime_parameter:
        return around.run_parameters.get(value.runtime_parameter)
    if value.constant is not UNSET:
        return normalize(value.constant)
    for key in ("stringValue", "intValue", "doubleValue"):
        if value.constant_value and key in value.constant_value:
            found = value.constant_value[key]
            return int(found) if key == "intValue" else found
    return None


def _artifacts(source: ArtifactInput, around: Surroundings) -> list[ArtifactRef] | None:
    if source.component_input_artifact:
        return around.inputs.artifacts.get(source.component_input_artifact)
    if (output := source.task_output_artifact) is not None:
        producer = around.sibling(output.producer_task)
        return producer.outputs.artifacts.get(output.output_artifact_key)
    return None


def _self_references(parameters: dict[str, Any], job: dict[str, str]) -> dict[str, Any]:
    """Replaces references to other parameters of the task, as f-strings compile to."""
    scope = PlaceholderScope({"inputs": {"parameterValues": parameters}}, job)

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return resolve(value, scope)
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if isinstance(value, dict):
            return {replaced(key): replaced(item) for key, item in value.items()}
        return value

    try:
        return {name: replaced(value) for name, value in parameters.items()}
    except PlaceholderError as error:
        raise BindingError(str(error)) from None
