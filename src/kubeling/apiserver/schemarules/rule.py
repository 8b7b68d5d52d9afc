"""One entry of ``x-kubernetes-validations``: compiled, and its findings in Kubernetes' words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kubeling.apiserver.cel.errors import CelError, CompileError, CostExceeded, EvalError
from kubeling.apiserver.cel.frames import CALL_LIMIT, Meter
from kubeling.apiserver.cel.program import Program, compile_expression
from kubeling.apiserver.cel.types import BOOL, STRING, Type, optional_of
from kubeling.apiserver.cel.values import NONE, Optional
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["OUT_OF_BUDGET", "OutOfBudget", "Rule", "compile_rule", "rule_errors"]

OUT_OF_BUDGET: Final = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
_REASONS: Final = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}
_LONGEST_MESSAGE: Final = 5 * 1024


class OutOfBudget(Exception):
    """The request's rules have done all the work they may."""

    def __init__(self, error: FieldError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a node whose values are called ``kind`` in messages."""

    source: Obj
    kind: str
    program: Program
    message: Program | None
    field_path: str

    @property
    def compares(self) -> bool:
        """Whether it looks at the old value."""
        return "oldSelf" in self.program.uses

    @property
    def _optional(self) -> bool:
        return bool(self.source.get("optionalOldSelf"))

    def check(self, path: str, value: Any, old: Any, budget: Meter) -> FieldError | None:
        """What is wrong with a value; ``old`` is ``None`` where there is none to compare with."""
        if self.compares and old is None and not self._optional:
            return None
        values = {"self": value, "oldSelf": old}
        if self._optional:
            values["oldSelf"] = NONE if old is None else Optional(old)
        try:
            if self._run(self.program, values, path, budget) is True:
                return None
        except EvalError as error:
            return FieldError(path, "Invalid value", self._failure(error), self.kind)
        where = path + self.field_path if path else self.field_path.lstrip(".")
        reason = _REASONS[self.source.get("reason") or "FieldValueInvalid"]
        text = self._message(values, path, budget)
        return FieldError(where, reason, "" if reason == "Duplicate value" else text, self.kind)

    def _run(self, program: Program, values: dict[str, Any], path: str, budget: Meter) -> Any:
        limit = min(CALL_LIMIT, budget.left)
        meter = Meter(limit)
        try:
            return program.evaluate(values, meter)
        except CostExceeded as error:
            what = OUT_OF_BUDGET
            if limit == CALL_LIMIT:
                what = (
                    f"'{error}': no further validation rules will be run due to call cost exceeds "
                    f"limit for rule: {self._shown}"
                )
            raise OutOfBudget(FieldError(path, "Invalid value", what, self.kind)) from None
        finally:
            budget.left -= limit - max(meter.left, 0)

    @property
    def _shown(self) -> str:
        return str(self.source.get("message") or self.source["rule"]).strip()

    def _failure(self, error: CelError) -> str:
        if str(error).startswith("no such overload"):
            return (
                f"'{error}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {self._shown}"
            )
        return f"{error} evaluating rule: {self._shown}"

    def _message(self, values: dict[str, Any], path: str, budget: Meter) -> str:
        if self.message is not None:
            try:
                text = self._run(self.message, values, path, budget)
            except EvalError:
                text = ""
            # As upstream: a message that cannot be shown gives way to the fixed one.
            if isinstance(text, str) and _presentable(text := text.strip()):
                return text
        if self.source.get("message"):
            return self._shown
        return f"failed rule: {self._shown}"


def _presentable(text: str) -> bool:
    return bool(text) and len(text) <= _LONGEST_MESSAGE and "\n" not in text


# Definitions


def compile_rule(source: Obj, node: Obj, found: Type) -> Rule:
    """Compiles a rule that :func:`rule_errors` finds nothing wrong with."""
    variables = _variables(source, found)
    message = source.get("messageExpression")
    return Rule(
        source,
        str(node.get("type") or "object"),
        compile_expression(source["rule"], variables, result=BOOL),
        compile_expression(message, variables, result=STRING) if message else None,
        source.get("fieldPath") or "",
    )


def _variables(source: Obj, found: Type) -> dict[str, Type]:
    old = optional_of(found) if source.get("optionalOldSelf") else found
    return {"self": found, "oldSelf": old}


def rule_errors(source: Obj, node: Obj, found: Type, path: str) -> Iterator[FieldError]:
    """What is wrong with a rule as it is written in a definition."""
    if not str(source.get("rule") or "").strip():
        yield FieldError(f"{path}.rule", "Required value", "rule is not specified")
        return
    variables = _variables(source, found)
    try:
        program = compile_expression(source["rule"], variables, result=BOOL)
    except CompileError as error:
        yield FieldError(f"{path}.rule", "Invalid value", str(error), source)
        return
    if source.get("optionalOldSelf") and "oldSelf" not in program.uses:
        message = "may not be set if oldSelf is not used in rule"
        yield FieldError(f"{path}.optionalOldSelf", "Invalid value", message, True)
    yield from _message_errors(source, variables, path)
    yield from _reason_errors(source, path)
    if source.get("fieldPath") and not _leads_somewhere(source["fieldPath"], node):
        message = "fieldPath must be a valid path: does not refer to a valid field"
        yield FieldError(f"{path}.fieldPath", "Invalid value", message, source["fieldPath"])


def _message_errors(source: Obj, variables: dict[str, Type], path: str) -> Iterator[FieldError]:
    message, expression = source.get("message"), source.get("messageExpression")
    if message is not None and not message.strip():
        text = "message must be non-empty if specified"
        yield FieldError(f"{path}.message", "Invalid value", text, message)
    if message and "\n" in message.strip():
        text = "message must not contain line breaks"
        yield FieldError(f"{path}.message", "Invalid value", text, message)
    if expression is None:
        return
    if not expression.strip():
        text = "must be non-empty if specified"
        yield FieldError(f"{path}.messageExpression", "Required value", text)
        return
    try:
        compile_expression(expression, variables, result=STRING, what="messageExpression")
    except CompileError as error:
        text = f"messageExpression {error}" if "failed" in str(error) else str(error)
        yield FieldError(f"{path}.messageExpression", "Invalid value", text, source)


def _reason_errors(source: Obj, path: str) -> Iterator[FieldError]:
    reason = source.get("reason")
    if reason is not None and reason not in _REASONS:
        listed = ", ".join(f'"{known}"' for known in sorted(_REASONS))
        text = f"supported values: {listed}"
        yield FieldError(f"{path}.reason", "Unsupported value", text, reason)


_STEP: Final = re.compile(r"\.([^.\[\]]+)|\['([^']*)'\]")


def _leads_somewhere(field_path: str, node: Obj) -> bool:
    at = 0
    while at < len(field_path):
        match = _STEP.match(field_path, at)
        if match is None:
            return False
        name = match[1] or match[2]
        child = (node.get("properties") or {}).get(name) or node.get("additionalProperties")
        if not isinstance(child, dict):
            return False
        node, at = child, match.end()
    return bool(field_path)
