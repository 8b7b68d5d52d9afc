"""From a call's arguments and a template's declarations to the values a node runs with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kubeling.kube.objects import Obj
from kubeling.workflows.expressions.tags import parse
from kubeling.workflows.places import KEYS, place_of, with_place
from kubeling.workflows.resources import Artifact, Inputs, Parameter, Template
from kubeling.workflows.scope import AbsentOutput, Scope, Unresolved
from kubeling.workflows.templates import Library
from kubeling.workflows.variables import input_values, parameter_text

__all__ = [
    "InvalidInput",
    "bind_inputs",
    "config_map_value",
    "located",
    "reference_of",
    "workflow_parameters",
]


class InvalidInput(Exception):
    """A template cannot be called like this; the message names the input."""


def bind_inputs(
    template: Template, arguments: Obj, caller: Scope, outer: Scope, library: Library
) -> Inputs | None:
    """The template's inputs with values, from the arguments and, failing those, its defaults.

    ``caller`` gives the arguments' tags their meaning, ``outer`` (the workflow's variables) those
    of the defaults. Raises :class:`InvalidInput` and :class:`~.templates.Missing`.
    """
    declared = template.inputs
    if declared is None or not (declared.parameters or declared.artifacts):
        return None
    texts = {p["name"]: p for p in arguments.get("parameters") or ()}
    files = {a["name"]: a for a in arguments.get("artifacts") or ()}
    parameters = [
        _parameter(wanted, texts.get(wanted.name), caller, outer, library)
        for wanted in declared.parameters
    ]
    # Where an artifact lies may be said with the parameters.
    outer = outer.child(input_values(Inputs(parameters=parameters)))
    return Inputs(
        parameters=parameters,
        artifacts=[
            bound
            for wanted in declared.artifacts
            if (bound := _artifact(wanted, files.get(wanted.name), caller, outer)) is not None
        ],
    )


def config_map_value(reference: Mapping[str, Any], scope: Scope, library: Library) -> str | None:
    """The text a ``configMapKeyRef`` points at, or ``None``."""
    wanted = scope.render(dict(reference))
    found = library.config_map(wanted.get("name", "")) or {}
    text = (found.get("data") or {}).get(wanted.get("key", ""))
    return None if text is None else str(text)


def workflow_parameters(spec: Obj, library: Library) -> dict[str, str]:
    """The Workflow's own parameters; raises :class:`InvalidInput` where one has no value."""
    found: dict[str, str] = {}
    for parameter in (spec.get("arguments") or {}).get("parameters") or ():
        value = parameter.get("value", parameter.get("default"))
        source = parameter.get("valueFrom") or {}
        if value is None and source.get("configMapKeyRef"):
            value = config_map_value(source["configMapKeyRef"], Scope(), library)
        if value is None:
            value = source.get("default")
        if value is None:
            raise InvalidInput(f"spec.arguments.parameters: {parameter['name']} has no value")
        found[parameter["name"]] = parameter_text(value)
    return found


def _parameter(
    wanted: Parameter, given: Obj | None, caller: Scope, outer: Scope, library: Library
) -> Parameter:
    value, why = (None, " was not supplied") if given is None else _argument(given, caller, library)
    if value is None:
        value = _fallback(wanted, outer, library)
    if value is None:
        raise InvalidInput(f"inputs.parameters.{wanted.name}{why}")
    allowed = [parameter_text(choice) for choice in wanted.enum or ()]
    if allowed and value not in allowed:
        raise InvalidInput(
            f'inputs.parameters.{wanted.name}: "{value}" is not one of {", ".join(allowed)}'
        )
    return msgspec.structs.replace(wanted, value=value, value_from=None)


def _argument(given: Obj, caller: Scope, library: Library) -> tuple[str | None, str]:
    """An argument's text; where it has none (a skipped step's output), why."""
    try:
        if given.get("value") is not None:
            return caller.render(parameter_text(given["value"])), ""
        source = given.get("valueFrom") or {}
        if expression := source.get("expression"):
            computed = caller.evaluate(expression)
            return (
                None if computed is None else parameter_text(computed)
            ), f" gives nil: {expression}"
        if parameter := source.get("parameter"):
            return caller.render(parameter), ""
        if reference := source.get("configMapKeyRef"):
            found = config_map_value(reference, caller, library)
            return found, f": {_no_config_map(reference)}"
    except AbsentOutput as problem:
        if not _is_reference(given):
            raise InvalidInput(str(problem)) from None
        why = "argument references an absent optional (skipped/omitted node output with no default)"
        return None, f": {why}"
    except Unresolved as problem:
        return None, f" has no value: {problem}"
    return None, " was given without a value"


def _is_reference(given: Obj) -> bool:
    """Whether an argument is nothing but one tag: then an input's default may stand in."""
    text = given.get("value", (given.get("valueFrom") or {}).get("parameter"))
    return isinstance(text, str) and len(parse(text.strip())) == 1


def _fallback(wanted: Parameter, outer: Scope, library: Library) -> str | None:
    source = wanted.value_from
    try:
        for text in (wanted.value, wanted.default):
            if text is not None:
                return str(outer.render(parameter_text(text)))
        if source is not None and source.config_map_key_ref:
            found = config_map_value(source.config_map_key_ref, outer, library)
            if found is None and source.default is None:
                raise InvalidInput(
                    f"inputs.parameters.{wanted.name}: {_no_config_map(source.config_map_key_ref)}"
                )
            if found is not None:
                return found
        if source is not None and source.expression:
            return parameter_text(outer.evaluate(source.expression))
    except Unresolved as problem:
        raise InvalidInput(f"inputs.parameters.{wanted.name}: {problem}") from None
    return None if source is None or source.default is None else parameter_text(source.default)


def _no_config_map(reference: Mapping[str, Any]) -> str:
    return f'ConfigMap "{reference.get("name")}" has no key "{reference.get("key")}"'


def _artifact(wanted: Artifact, given: Obj | None, caller: Scope, outer: Scope) -> Artifact | None:
    location: Obj | None = None
    why = "was not supplied"
    try:
        if given is not None:
            location = located(given, caller)
        if location is None:
            location = located(msgspec.to_builtins(wanted), outer)
    except Unresolved as problem:
        why = f"has no value: {problem}"
    if location is None:
        if wanted.optional or (given or {}).get("optional"):
            return None
        raise InvalidInput(f"inputs.artifacts.{wanted.name} {why}")
    return with_place(wanted, location)


def located(artifact: Obj, scope: Scope) -> Obj | None:
    """Where an artifact argument lies: ``{"s3": {"key": …}}``, ``{"raw": {"data": …}}``, …"""
    found: Obj | None = None
    if reference := artifact.get("from"):
        found = scope.artifact(reference_of(reference))
        if found is None:
            raise Unresolved(f"failed to resolve {reference}")
    elif expression := artifact.get("fromExpression"):
        found = scope.evaluate(expression)
    elif (place := place_of(artifact)) is not None:
        found = scope.render(place)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise Unresolved(f"{artifact.get('name')} is not an artifact")
    place = place_of(found)
    sub_path = scope.render(artifact.get("subPath") or "")
    if place and sub_path:
        [(kind, content)] = place.items()
        if name := KEYS.get(kind):
            return {kind: {**content, name: f"{content.get(name, '')}/{sub_path}"}}
    return place


def reference_of(text: str) -> str:
    """The name inside ``{{…}}``."""
    return text.strip().removeprefix("{{").removesuffix("}}").strip()
