"""``successCondition`` and ``failureCondition`` of ``resource`` templates.

They are label selectors whose keys are paths into the object (``executor/resource.go``):
``status.phase == Succeeded``, ``status.failed > 1``, ``status.phase in (Failed, Error)``. All terms
of a success condition must hold; one term of a failure condition is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["Term", "parse_condition", "verdict"]

_TERMS: Final = re.compile(r",(?![^(]*\))")
_SET: Final = re.compile(r"\s*([^\s,()!=<>]+)\s+(in|notin)\s*\(([^()]*)\)\s*")
_COMPARE: Final = re.compile(r"\s*([^\s,()!=<>]+)\s*(==|=|!=|>|<)\s*([^\s,()!=<>]*)\s*")
_EXISTS: Final = re.compile(r"\s*(!?)\s*([^\s,()!=<>]+)\s*")


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a condition, as it was written."""

    text: str
    path: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, obj: Obj) -> bool:
        """Whether the object is as the term says."""
        exists, value = _value(obj, self.path)
        match self.operator:
            case "exists":
                return exists
            case "!":
                return not exists
            case "in" | "=":
                return exists and value in self.values
            case "notin" | "!=":
                return not exists or value not in self.values
            case _:
                return exists and _compared(value, self.operator, self.values[0])


def parse_condition(text: str) -> list[Term]:
    """The terms of a condition; raises :class:`ValueError`."""
    return [_term(part) for part in _TERMS.split(text)] if text.strip() else []


def verdict(obj: Obj, success: Sequence[Term], failure: Sequence[Term]) -> bool | str:
    """Whether the object is as wanted; a text where it will not be, which says why."""
    for term in failure:
        if term.holds(obj):
            return f"failure condition '{term.text}' evaluated true"
    return all(term.holds(obj) for term in success)


def _term(text: str) -> Term:
    shown = text.strip()
    if match := _SET.fullmatch(text):
        values = tuple(value.strip() for value in match[3].split(","))
        return Term(shown, match[1], match[2], values)
    if match := _COMPARE.fullmatch(text):
        operator = "=" if match[2] == "==" else match[2]
        if operator in "<>" and not re.fullmatch(r"-?\d+", match[3]):
            raise ValueError(f'"{shown}": compare with a whole number')
        return Term(shown, match[1], operator, (match[3],))
    if match := _EXISTS.fullmatch(text):
        return Term(shown, match[2], match[1] or "exists")
    raise ValueError(f'"{shown}" is no condition; write for example status.phase == Ready')


def _value(obj: Any, path: str) -> tuple[bool, str]:
    """What lies at a dotted path, as text; numbers are places of a list."""
    for name in re.split(r"(?<!\\)\.", path):
        key = name.replace("\\.", ".")
        if isinstance(obj, dict) and key in obj:
            obj = obj[key]
        elif isinstance(obj, list) and key.isdigit() and int(key) < len(obj):
            obj = obj[int(key)]
        else:
            return False, ""
    if isinstance(obj, str):
        return True, obj
    return True, "" if obj is None else msgspec.json.encode(obj).decode()


def _compared(value: str, operator: str, bound: str) -> bool:
    try:
        return int(value) > int(bound) if operator == ">" else int(value) < int(bound)
    except ValueError:
        return False
