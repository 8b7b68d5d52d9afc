"""``depends``: which results of which tasks a DAG task waits for.

    A && (B.Succeeded || B.Skipped) && !C.Failed

A bare task name means that it succeeded, was skipped or serves as a daemon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["RESULTS", "And", "Depends", "Not", "Or", "TaskResult", "evaluate", "parse", "tasks_of"]

RESULTS: Final = frozenset(
    {"Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded",
     "AllFailed"}
)  # fmt: skip

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<op>&&|\|\||!|\(|\))|(?P<task>[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z]+)?))"
)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task's result; ``result`` is empty for a bare name."""

    task: str
    result: str


@dataclass(frozen=True, slots=True)
class And:
    left: Depends
    right: Depends


@dataclass(frozen=True, slots=True)
class Or:
    left: Depends
    right: Depends


@dataclass(frozen=True, slots=True)
class Not:
    operand: Depends


Depends = TaskResult | And | Or | Not


def parse(text: str) -> Depends:
    """Parses an expression; raises :class:`ExpressionError`."""
    tokens = list(_tokens(text))
    tree, position = _either(tokens, 0)
    if position < len(tokens):
        raise ExpressionError(f'unexpected "{tokens[position]}"')
    return tree


def tasks_of(tree: Depends) -> Iterator[TaskResult]:
    """Every task the expression names, with the result it asks for."""
    match tree:
        case TaskResult():
            yield tree
        case Not(operand):
            yield from tasks_of(operand)
        case And(left, right) | Or(left, right):
            yield from tasks_of(left)
            yield from tasks_of(right)


def evaluate(tree: Depends, holds: Callable[[TaskResult], bool]) -> bool:
    """Whether the expression holds, given what each task's result is."""
    match tree:
        case TaskResult():
            return holds(tree)
        case Not(operand):
            return not evaluate(operand, holds)
        case And(left, right):
            return evaluate(left, holds) and evaluate(right, holds)
        case Or(left, right):
            return evaluate(left, holds) or evaluate(right, holds)


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise ExpressionError(f'unexpected "{text[position:].strip()[0]}"')
        yield found.group().strip()
        position = found.end()


def _either(tokens: list[str], position: int) -> tuple[Depends, int]:
    left, position = _both(tokens, position)
    while position < len(tokens) and tokens[position] == "||":
        right, position = _both(tokens, position + 1)
        left = Or(left, right)
    return left, position


def _both(tokens: list[str], position: int) -> tuple[Depends, int]:
    left, position = _one(tokens, position)
    while position < len(tokens) and tokens[position] == "&&":
        right, position = _one(tokens, position + 1)
        left = And(left, right)
    return left, position


def _one(tokens: list[str], position: int) -> tuple[Depends, int]:
    if position >= len(tokens):
        raise ExpressionError("ends where a task was expected")
    token = tokens[position]
    if token == "!":
        operand, position = _one(tokens, position + 1)
        return Not(operand), position
    if token == "(":
        inner, position = _either(tokens, position + 1)
        if position >= len(tokens) or tokens[position] != ")":
            raise ExpressionError('a ")" is missing')
        return inner, position + 1
    if token in ("&&", "||", ")"):
        raise ExpressionError(f'unexpected "{token}"')
    task, _, result = token.partition(".")
    if result and result not in RESULTS:
        raise ExpressionError(
            f'"{result}" is not a result; use one of {", ".join(sorted(RESULTS))}'
        )
    return TaskResult(task, result), position + 1
