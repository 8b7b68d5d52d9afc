"""One ``ValidatingAdmissionPolicy``, compiled: what it decides about an attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.apiserver.cel.errors import CelError
from kubeling.apiserver.cel.frames import REQUEST_LIMIT, Meter
from kubeling.apiserver.cel.program import Program
from kubeling.apiserver.cel.types import BOOL, STRING
from kubeling.apiserver.policies.environment import Environment, Scope, run
from kubeling.kube.objects import Obj

__all__ = ["Denial", "ValidatingPolicy", "Verdict", "compile_conditions", "conditions_hold"]

_LONGEST_MESSAGE: Final = 5 * 1024
_LONGEST_ANNOTATION: Final = 10 * 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """A validation that failed; ``index`` is its place among those of the policy."""

    message: str
    reason: str = "Invalid"
    index: int = 0


@dataclass(slots=True)
class Verdict:
    """What a policy says of an attempt.

    ``failures`` are annotations without a value: the attempt is refused for them whatever the
    binding says.
    """

    denials: list[Denial] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Denial] = field(default_factory=list)


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

        self._annotations = [
            (source["key"], environment.compile(source["valueExpression"]))
            for source in spec.get("auditAnnotations") or ()
        ]

    def decide(self, values: Mapping[str, Any]) -> Verdict:
        """What the policy says of an attempt, for these values of the variables."""
        scope = Scope(values, self._variables, Meter(REQUEST_LIMIT))
        try:
            if not conditions_hold(self._conditions, scope):
                return Verdict()
        except CelError as error:
            return Verdict([Denial(str(error))] if self._fails_closed else [])
        verdict = Verdict(list(self._denials(scope)))
        for key, program in self._annotations:
            self._annotate(verdict, key, program, scope)
        return verdict

    def _annotate(self, verdict: Verdict, key: str, program: Program, scope: Scope) -> None:
        what = f"valueExpression '{program.source}' resulted in"
        try:
            value = run(program, scope)
        except CelError as error:
            if self._fails_closed:
                verdict.failures.append(Denial(f"{what} error: {error}"))
            return
        if isinstance(value, str):
            if value.strip():
                verdict.annotations.append((key, value.strip()[:_LONGEST_ANNOTATION]))
        elif value is not None:
            text = f"{what} unsupported return type. Return type must be either string or null."
            verdict.failures.append(Denial(text))

    def _denials(self, scope: Scope) -> Iterator[Denial]:
        for index, validation in enumerate(self._validations):
            source = validation.source
            try:
                passed = run(validation.program, scope) is True
            except CelError as error:
                if self._fails_closed:
                    text = f"expression '{source['expression']}' resulted in error: {error}"
                    yield Denial(text, index=index)
                continue
            if not passed:
                reason = source.get("reason") or "Invalid"
                yield Denial(_message(validation, scope), reason, index)


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
