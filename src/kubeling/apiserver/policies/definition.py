"""What is wrong with a policy or a binding as it is written, beyond its schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from kubeling.apiserver.cel.errors import CompileError, ResultError
from kubeling.apiserver.cel.types import ANY, BOOL, NULL, STRING, Type
from kubeling.apiserver.policies.environment import Environment
from kubeling.apiserver.policies.mutating import compile_mutation
from kubeling.apiserver.validation.rules import selector
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["binding_errors", "mutating_policy_errors", "validating_policy_errors"]

Errors = Iterator[FieldError]

_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_PATCHES: Final = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def validating_policy_errors(spec: Obj) -> Errors:
    """For the spec of a ``ValidatingAdmissionPolicy``."""
    if not (spec.get("validations") or spec.get("auditAnnotations")):
        text = "validations or auditAnnotations must contain at least one item"
        yield FieldError("spec.validations", "Required value", text)
    environment = Environment(with_params=bool(spec.get("paramKind")))
    yield from _common_errors(spec, environment)
    for index, validation in enumerate(spec.get("validations") or ()):
        path = f"spec.validations[{index}]"
        yield from _expression_errors(validation, "expression", BOOL, path, environment.compile)
        if validation.get("messageExpression"):
            yield from _expression_errors(
                validation, "messageExpression", STRING, path, environment.compile
            )
        yield from _choice(validation, "reason", _REASONS, path)
    yield from _annotation_errors(spec, environment)


def _annotation_errors(spec: Obj, environment: Environment) -> Errors:
    def compile_text(text: str, result: Type | None) -> None:
        if environment.compile(text).result not in (STRING, NULL, ANY):
            raise ResultError("cel expression must evaluate to one of [string null_type]")

    keys: list[str] = []
    for index, annotation in enumerate(spec.get("auditAnnotations") or ()):
        path, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        if not key:
            yield FieldError(f"{path}.key", "Required value", "")
        elif key in keys:
            yield FieldError(f"{path}.key", "Duplicate value", "", key)
        keys.append(key)
        yield from _expression_errors(annotation, "valueExpression", None, path, compile_text)


def mutating_policy_errors(spec: Obj) -> Errors:
    """For the spec of a ``MutatingAdmissionPolicy``."""
    if not spec.get("mutations"):
        text = "mutations must contain at least one item"
        yield FieldError("spec.mutations", "Required value", text)
    yield from _choice(spec, "reinvocationPolicy", ("IfNeeded", "Never"), "spec")
    environment = Environment(with_params=bool(spec.get("paramKind")))
    yield from _common_errors(spec, environment)
    for index, mutation in enumerate(spec.get("mutations") or ()):
        yield from _mutation_errors(mutation, environment, f"spec.mutations[{index}]")


def _mutation_errors(mutation: Obj, environment: Environment, path: str) -> Errors:
    kind = mutation.get("patchType")
    if not kind:
        yield FieldError(f"{path}.patchType", "Required value", "")
        return
    if kind not in _PATCHES:
        yield from _choice(mutation, "patchType", tuple(_PATCHES), path)
        return
    for known, field in _PATCHES.items():
        if known != kind and mutation.get(field):
            text = f"must not be set when patchType is {kind}"
            yield FieldError(f"{path}.{field}", "Invalid value", text, mutation[field])
    field = _PATCHES[kind]

    def compile_one(text: str, result: Type | None) -> object:
        return compile_mutation(mutation, environment)

    source = mutation.get(field) or {}
    yield from _expression_errors(source, "expression", None, f"{path}.{field}", compile_one)


def _common_errors(spec: Obj, environment: Environment) -> Errors:
    yield from _scope_errors(spec)
    yield from _variable_errors(spec, environment)
    yield from _condition_errors(spec, environment)


def _scope_errors(spec: Obj) -> Errors:
    constraints = spec.get("matchConstraints")
    if not constraints:
        yield FieldError("spec.matchConstraints", "Required value", "")
    elif not constraints.get("resourceRules"):
        yield FieldError("spec.matchConstraints.resourceRules", "Required value", "")
    yield from _selector_errors(constraints or {}, "spec.matchConstraints")
    yield from _choice(spec, "failurePolicy", ("Fail", "Ignore"), "spec")
    kind = spec.get("paramKind")
    for field in ("apiVersion", "kind"):
        if kind and not kind.get(field):
            yield FieldError(f"spec.paramKind.{field}", "Required value", "")


def _selector_errors(constraints: Obj, path: str) -> Errors:
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector(constraints.get(field) or {}, f"{path}.{field}")
    yield from _choice(constraints, "matchPolicy", ("Equivalent", "Exact"), path)


def _variable_errors(spec: Obj, environment: Environment) -> Errors:
    for index, variable in enumerate(spec.get("variables") or ()):
        path = f"spec.variables[{index}]"
        name = variable.get("name") or ""
        if not name.isidentifier():
            text = "name is not a valid CEL identifier"
            yield FieldError(f"{path}.name", "Invalid value", text, name)
        elif name in environment.programs:
            yield FieldError(f"{path}.name", "Duplicate value", "", name)
        else:
            declare = partial(environment.declare, name)
            yield from _expression_errors(variable, "expression", None, path, declare)


def _condition_errors(spec: Obj, environment: Environment) -> Errors:
    def compile_alone(text: str, result: Type | None) -> object:
        return environment.compile(text, result, variables=False)

    for index, condition in enumerate(spec.get("matchConditions") or ()):
        path = f"spec.matchConditions[{index}]"
        if not condition.get("name"):
            yield FieldError(f"{path}.name", "Required value", "")
        yield from _expression_errors(condition, "expression", BOOL, path, compile_alone)


def _expression_errors(
    source: Obj,
    field: str,
    result: Type | None,
    path: str,
    compile_: Callable[[str, Type | None], object],
) -> Errors:
    text = source.get(field) or ""
    if not text.strip():
        yield FieldError(f"{path}.{field}", "Required value", f"{field} is not specified")
        return
    try:
        compile_(text, result)
    except CompileError as error:
        yield FieldError(f"{path}.{field}", "Invalid value", str(error), text)


def _choice(source: Obj, field: str, choices: tuple[str, ...], path: str) -> Errors:
    value: Any = source.get(field)
    if value is not None and value not in choices:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        text = f"supported values: {listed}"
        yield FieldError(f"{path}.{field}", "Unsupported value", text, value)


def binding_errors(spec: Obj, *, acts: bool) -> Errors:
    """For the spec of a binding; only those of validating policies say what follows."""
    if not spec.get("policyName"):
        yield FieldError("spec.policyName", "Required value", "")
    yield from _reference_errors(spec)
    yield from _selector_errors(spec.get("matchResources") or {}, "spec.matchResources")
    if acts:
        yield from _action_errors(spec.get("validationActions") or [])


def _action_errors(actions: list[str]) -> Errors:
    path = "spec.validationActions"
    if not actions:
        yield FieldError(path, "Required value", "at least one validation action is required")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            listed = ", ".join(f'"{known}"' for known in _ACTIONS)
            where = f"{path}[{index}]"
            yield FieldError(where, "Unsupported value", f"supported values: {listed}", action)
        elif action in actions[:index]:
            yield FieldError(f"{path}[{index}]", "Duplicate value", "", action)
    if "Deny" in actions and "Warn" in actions:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        yield FieldError(path, "Invalid value", text, actions)


def _reference_errors(spec: Obj) -> Errors:
    """For the ``paramRef`` of any binding."""
    reference, path = spec.get("paramRef"), "spec.paramRef"
    if not reference:
        return
    if bool(reference.get("name")) == ("selector" in reference):
        yield FieldError(path, "Required value", "one of name or selector must be specified")
    yield from selector(reference.get("selector") or {}, f"{path}.selector")
    if not reference.get("parameterNotFoundAction"):
        yield FieldError(f"{path}.parameterNotFoundAction", "Required value", "")
    yield from _choice(reference, "parameterNotFoundAction", ("Allow", "Deny"), path)
