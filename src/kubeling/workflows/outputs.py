"""What nodes give: read from pods' reports, or put together from the nodes inside."""

from __future__ import annotations

import msgspec

from kubeling.kube.objects import Obj
from kubeling.workflows.inputs import located
from kubeling.workflows.observation import PodObservation
from kubeling.workflows.places import with_place
from kubeling.workflows.resources import Artifact, Outputs, Parameter
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.variables import parameter_text

__all__ = ["MissingOutput", "composite_outputs", "pod_outputs", "with_defaults"]


class MissingOutput(Exception):
    """A step did not give what its template declares; the message names it."""


def pod_outputs(declared: Outputs | None, seen: PodObservation) -> Outputs:
    """The outputs of a finished pod; ``declared`` has its artifacts' places.

    Raises :class:`MissingOutput` only where it succeeded.
    """
    outputs = Outputs(result=seen.report.result)
    if seen.exit_code is not None:
        outputs.exit_code = str(seen.exit_code)
    if declared is None:
        return outputs
    strict = seen.phase == "Succeeded"
    for parameter in declared.parameters:
        value = _reported(parameter, seen, strict)
        if value is not None:
            outputs.parameters.append(msgspec.structs.replace(parameter, value=value))
    for artifact in declared.artifacts:
        if artifact.name in seen.report.artifacts:
            outputs.artifacts.append(artifact)
        elif strict and not artifact.optional:
            raise MissingOutput(
                f'output artifact "{artifact.name}": the step left nothing at {artifact.path}'
            )
    return outputs


def _reported(parameter: Parameter, seen: PodObservation, strict: bool) -> str | None:
    if parameter.value is not None:
        return parameter_text(parameter.value)
    if (value := seen.report.parameters.get(parameter.name)) is not None:
        return value
    source = parameter.value_from
    if source is not None and source.default is not None:
        return parameter_text(source.default)
    if strict and source is not None and source.path:
        raise MissingOutput(
            f'output parameter "{parameter.name}": the step wrote no file {source.path}; '
            "write it, or give valueFrom.default"
        )
    return None


def with_defaults(outputs: Outputs | None) -> Outputs | None:
    """The outputs of a suspended node that goes on though nobody supplied them."""
    if outputs is None:
        return None
    return msgspec.structs.replace(
        outputs, parameters=[_supplied(parameter) for parameter in outputs.parameters]
    )


def _supplied(parameter: Parameter) -> Parameter:
    source = parameter.value_from
    if source is None or source.supplied is None:
        return parameter
    if source.default is None:
        raise MissingOutput(
            f"raw output parameter '{parameter.name}' has not been set and does not have a "
            "default value"
        )
    return msgspec.structs.replace(parameter, value=source.default, value_from=None)


def composite_outputs(declared: Outputs | None, scope: Scope) -> Outputs | None:
    """The outputs of a steps or dag template; raises :class:`Unresolved`."""
    if declared is None:
        return None
    outputs = Outputs()
    for parameter in declared.parameters:
        value = _composed(parameter, scope)
        outputs.parameters.append(msgspec.structs.replace(parameter, value=value))
    for artifact in declared.artifacts:
        location = _composed_artifact(artifact, scope)
        if location is not None:
            outputs.artifacts.append(with_place(artifact, location))
    return outputs


def _composed(parameter: Parameter, scope: Scope) -> str:
    source = parameter.value_from
    if source is None:
        return str(scope.render(parameter_text(parameter.value)))
    try:
        if source.parameter:
            return str(scope.render(source.parameter))
        value = scope.evaluate(source.expression)
        if value is None:
            raise Unresolved(f'"{source.expression}" gives nil')
        return parameter_text(value)
    except Unresolved as problem:
        if source.default is not None:
            return parameter_text(source.default)
        raise Unresolved(f"outputs.parameters.{parameter.name}: {problem}") from None


def _composed_artifact(artifact: Artifact, scope: Scope) -> Obj | None:
    try:
        location = located(msgspec.to_builtins(artifact), scope)
    except Unresolved as problem:
        if artifact.optional:
            return None
        raise Unresolved(f"outputs.artifacts.{artifact.name}: {problem}") from None
    if location is None and not artifact.optional:
        raise Unresolved(f"outputs.artifacts.{artifact.name}: nothing to take it from")
    return location
