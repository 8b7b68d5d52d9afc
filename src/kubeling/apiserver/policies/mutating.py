"""One ``MutatingAdmissionPolicy``, compiled: how it changes an object.

A mutation is either a partial object, merged as server-side apply would
(``Object{metadata: Object.metadata{labels: {'a': 'b'}}}``), or a list of JSON Patch operations
(``[JSONPatch{op: 'add', path: '/spec/x', value: 1}]``). Each sees the object as the one before
left it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.apiserver.apply import merge_applied
from kubeling.apiserver.cel.errors import CelError
from kubeling.apiserver.cel.frames import REQUEST_LIMIT, Meter
from kubeling.apiserver.cel.program import Program
from kubeling.apiserver.cel.types import ANY, STRING, Field, ObjectType, Type, list_of
from kubeling.apiserver.patch import json_patch
from kubeling.apiserver.policies.environment import Environment, Scope, run
from kubeling.apiserver.policies.validating import compile_conditions, conditions_hold
from kubeling.apiserver.served import Served
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["MutatingPolicy", "MutationError", "compile_mutation"]

_OPERATION: Final = ObjectType(
    "JSONPatch",
    lambda: {
        "op": Field("op", STRING),
        "path": Field("path", STRING),
        "from": Field("from", STRING),
        "value": Field("value", ANY),
    },
)


class MutationError(Exception):
    """A mutation that cannot be carried out."""


def compile_mutation(mutation: Obj, environment: Environment) -> Program:
    """The expression of one entry of ``mutations``; raises ``CompileError``."""
    if mutation.get("patchType") == "JSONPatch":
        expression = (mutation.get("jsonPatch") or {}).get("expression") or ""
        return environment.compile(expression, list_of(_OPERATION), messages=_message)
    expression = (mutation.get("applyConfiguration") or {}).get("expression") or ""
    return environment.compile(expression, ANY, messages=_message)


def _message(name: str) -> Type | None:
    if name == "JSONPatch":
        return _OPERATION
    # What an object has is only known when the policy meets one.
    return ANY if name.partition(".")[0] == "Object" else None


class MutatingPolicy:
    """Raises ``CompileError`` where the spec cannot be compiled."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        environment = Environment.of(spec)
        self._variables = environment.programs
        self._conditions = compile_conditions(spec, environment)
        self._mutations = [
            (mutation["patchType"], compile_mutation(mutation, environment))
            for mutation in spec.get("mutations") or ()
        ]

    def change(self, values: Mapping[str, Any], served: Served) -> Obj | None:
        """The changed object, or ``None`` where the policy does not apply.

        Raises :class:`MutationError`.
        """
        budget = Meter(REQUEST_LIMIT)
        try:
            if not conditions_hold(self._conditions, Scope(values, self._variables, budget)):
                return None
            obj: Obj = values["object"]
            for kind, program in self._mutations:
                scope = Scope({**values, "object": obj}, self._variables, budget)
                obj = _changed(obj, run(program, scope), kind, served)
        except CelError as error:
            raise MutationError(str(error)) from None
        return obj


def _changed(obj: Obj, change: Any, kind: str, served: Served) -> Obj:
    if kind == "JSONPatch":
        try:
            patched: Obj = json_patch(deep_copy(obj), change)
        except ApiError as error:
            raise MutationError(f"JSON Patch: {error.message}") from None
        return patched
    if not isinstance(change, dict):
        raise MutationError("applyConfiguration: the expression must evaluate to an Object")
    for field in ("apiVersion", "kind"):
        if change.get(field, obj[field]) != obj[field]:
            raise MutationError(f"applyConfiguration: {field} may not be changed")
    merged: Obj = deep_copy(merge_applied(obj, change, served.shape.merge_schema))
    return merged
