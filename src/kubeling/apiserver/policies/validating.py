"""One ``ValidatingAdmissionPolicy``, compiled: what it decides about an attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.apiserver.cel.errors import CelError
from kubeling.apiserver.cel.frames import REQUEST_LIMIT, Meter
from kubeling.apiserver.cel.program import Program
from kubeling.apiserver.cel.types import BOOL, STRING
from kubeling.apiserver.policies.environment import Environment, Scope, run
from kubeling.kube.objects import Obj

__all__ = ["Denial", "ValidatingPolicy", "compile_conditions", "conditions_hold"]

_LONGEST_MESSAGE: Final = 5 * 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """A validation that failed."""

    message: str
    reason: str = "Invalid"


@dataclass(frozen=True, slots=True)
class _Validation:
    source: Obj
    program: Program
    message: Program | None


class ValidatingPolicy:
    """Raises ``CompileError`` where the spec cannot be compiled."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._fails_closed = spec.get("failurePolicy", "Fail") != "Ignore"
        environment = Environment.of(spec)
        self._variables = environment.programs
        self._conditions = compile_conditions(spec, environment)
        self._validations = [
            _Validation(
                source,
                environment.compile(source["expression"], BOOL),
                environment.compile(source["messageExpression"], STRING)
                if source.get("messageExpression")
                else None,
            )
            for source in spec.get("validations") or ()
        ]

    def decide(self, values: Mapping[str, Any]) -> list[Denial]:
        """What is wrong with an attempt, for these values of the variables."""
        scope = Scope(values, self._variables, Meter(REQUEST_LIMIT))
        try:
            if not conditions_hold(self._conditions, scope):
                return []
        except CelError as error:
            return [Denial(str(error))] if self._fails_closed else []
        return list(self._denials(scope))

    def _denials(self, scope: Scope) -> Iterator[Denial]:
        for validation in self._validations:
            source = validation.source
            try:
                passed = run(validation.program, scope) is True
            except CelError as error:
                if self._fails_closed:
                    text = f"expression '{source['expression']}' resulted in error: {error}"
                    yield Denial(text)
                continue
            if not passed:
                yield Denial(_message(validation, scope), source.get("reason") or "Invalid")


def _message(validation: _Validation, scope: Scope) -> str:
    if validation.message is not None:
        try:
            text = run(validation.message, scope)
        except CelError:
            text = ""
        # As upstream: a message that cannot be shown gives way to the fixed one.
        if isinstance(text, str) and 0 < len(text.strip()) <= _LONGEST_MESSAGE:
            return text.strip()
    source = validation.source
    return str(source.get("message") or f"failed expression: {source['expression'].strip()}")


def compile_conditions(spec: Mapping[str, Any], environment: Environment) -> list[Program]:
    """The match conditions; they cannot use the policy's variables."""
    return [
        environment.compile(source["expression"], BOOL, variables=False)
        for source in spec.get("matchConditions") or ()
    ]


def conditions_hold(conditions: list[Program], scope: Scope) -> bool:
    """Whether all hold; one that says no counts more than one that fails."""
    failed: list[CelError] = []
    for program in conditions:
        try:
            if run(program, scope) is not True:
                return False
        except CelError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return True
