"""The variables of policy expressions, and expressions compiled over them.

``object``, ``oldObject``, ``params`` and ``namespaceObject`` are dynamic: which kinds a policy
meets is only known when it meets them. ``request`` is typed, and so is what the policy's own
``variables`` hold; those are computed when first read, once per attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.frames import CALL_LIMIT, Meter
from kubeling.apiserver.cel.program import Program, compile_expression
from kubeling.apiserver.cel.types import (
    ANY,
    BOOL,
    STRING,
    Field,
    ObjectType,
    Type,
    list_of,
    map_of,
    parse_type,
)
from kubeling.kube.objects import Obj

__all__ = ["USER_INFO", "Environment", "Scope", "run"]


def _object(name: str, /, **fields: Type) -> ObjectType:
    return ObjectType(name, lambda: {key: Field(key, found) for key, found in fields.items()})


_KIND: Final = _object("GroupVersionKind", group=STRING, version=STRING, kind=STRING)
_RESOURCE: Final = _object("GroupVersionResource", group=STRING, version=STRING, resource=STRING)
USER_INFO: Final = _object(
    "UserInfo",
    username=STRING,
    uid=STRING,
    groups=list_of(STRING),
    extra=map_of(STRING, list_of(STRING)),
)
_REQUEST: Final = _object(
    "AdmissionRequest",
    uid=STRING,
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=USER_INFO,
    dryRun=BOOL,
    options=ANY,
)
_COMMON: Final[Mapping[str, Type]] = {
    "object": ANY,
    "oldObject": ANY,
    "request": _REQUEST,
    "namespaceObject": ANY,
    "authorizer": parse_type("Authorizer"),
    "authorizer.requestResource": parse_type("ResourceCheck"),
}


class Environment:
    """What expressions of one policy may use.

    Variables are declared in order, each over those before it; one that cannot be compiled is
    left out here and raised by :meth:`declare`.
    """

    def __init__(self, *, with_params: bool) -> None:
        self._types = {**_COMMON, **({"params": ANY} if with_params else {})}
        self._fields: dict[str, Field] = {}
        self.programs: dict[str, Program] = {}

    def declare(self, name: str, expression: str, result: Type | None = None) -> None:
        """Adds a variable; raises ``CompileError``."""
        program = self.compile(expression, result)
        self.programs[name] = program
        self._fields[name] = Field(name, program.result)

    def compile(
        self, expression: str, result: Type | None = None, *, variables: bool = True, **more: Any
    ) -> Program:
        """Compiles an expression; raises ``CompileError``."""
        types = dict(self._types)
        if variables:
            fields = dict(self._fields)
            types["variables"] = ObjectType("variables", lambda: fields)
        return compile_expression(expression, types, result=result, **more)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Environment:
        """The environment a policy's spec describes; raises ``CompileError``."""
        environment = cls(with_params=bool(spec.get("paramKind")))
        for variable in _list(spec, "variables"):
            environment.declare(variable["name"], variable["expression"])
        return environment


def _list(spec: Mapping[str, Any], key: str) -> Iterable[Obj]:
    return spec.get(key) or ()


class Scope(dict[str, Any]):
    """The values of one attempt, and what they may still cost."""

    def __init__(self, values: Mapping[str, Any], programs: Mapping[str, Program], budget: Meter):
        super().__init__(values)
        self.budget = budget
        self["variables"] = _Variables(programs, self)


class _Variables(dict[str, Any]):
    """Computes a variable when it is first read."""

    def __init__(self, programs: Mapping[str, Program], scope: Scope) -> None:
        super().__init__()
        self._programs = programs
        self._scope = scope

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __missing__(self, name: str) -> Any:
        try:
            value = self[name] = run(self._programs[name], self._scope)
        except EvalError as error:
            raise EvalError(f'composited variable "{name}" fails to evaluate: {error}') from None
        return value


def run(program: Program, scope: Scope) -> Any:
    """The value of an expression; raises ``CelError``."""
    limit = min(CALL_LIMIT, scope.budget.left)
    meter = Meter(limit)
    try:
        return program.evaluate(scope, meter)
    finally:
        scope.budget.left -= limit - max(meter.left, 0)
