"""Label selectors, as text and as ``LabelSelector`` objects, compiled to one predicate.

Grammar and semantics are those of apimachinery ``labels.Parse`` and
``metav1.LabelSelectorAsSelector``: ``!=`` and ``notin`` also match objects without the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.errors import BadRequest

__all__ = ["LabelSelector", "Requirement", "from_object", "parse"]

_SET: Final = re.compile(r"\s*([^\s,()!=]+)\s+(in|notin)\s*\(([^()]*)\)\s*")
_COMPARE: Final = re.compile(r"\s*([^\s,()!=]+)\s*(==|=|!=)\s*([^\s,()!=]*)\s*")
_EXISTS: Final = re.compile(r"\s*(!?)\s*([^\s,()!=]+)\s*")
_KEY: Final = re.compile(
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_VALUE: Final = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; ``operator`` is ``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={values}"
            case "In":
                return f"{self.key} in ({values})"
            case "NotIn" if len(self.values) == 1:
                return f"{self.key}!={values}"
            case "NotIn":
                return f"{self.key} notin ({values})"
            case "Exists":
                return self.key
            case _:
                return f"!{self.key}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


def parse(text: str) -> LabelSelector:
    """Parses a selector such as ``app=web,tier in (a,b),!canary``; raises :class:`BadRequest`."""
    requirements: list[Requirement] = []
    position = 0
    while position < len(text) and text[position:].strip():
        requirement, position = _term(text, position)
        requirements.append(requirement)
        if position < len(text):
            if text[position] != ",":
                raise _unparsable(text)
            position += 1
            if not text[position:].strip():
                raise _unparsable(text)
    return LabelSelector(tuple(requirements))


def _term(text: str, position: int) -> tuple[Requirement, int]:
    if found := _SET.match(text, position):
        key, word, listed = found.groups()
        operator = "In" if word == "in" else "NotIn"
        values = frozenset(value.strip() for value in listed.split(","))
    elif found := _COMPARE.match(text, position):
        key, sign, value = found.groups()
        operator = "NotIn" if sign == "!=" else "In"
        values = frozenset([value])
    elif found := _EXISTS.match(text, position):
        absent, key = found.groups()
        operator = "DoesNotExist" if absent else "Exists"
        values = frozenset()
    else:
        raise _unparsable(text)
    if not _KEY.match(key) or not all(_VALUE.match(value) for value in values):
        raise _unparsable(text)
    return Requirement(key, operator, values), found.end()


def _unparsable(text: str) -> BadRequest:
    return BadRequest(
        f'unable to parse requirement: "{text}" is not a label selector; write terms such as '
        '"key=value", "key in (a,b)" or "!key", separated by commas'
    )


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A ``metav1.LabelSelector``; ``None`` selects nothing, an empty one everything."""
    if selector is None:
        return LabelSelector((Requirement("kubeling.io/none", "In"),))
    terms = [
        Requirement(key, "In", frozenset([value]))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    terms += [
        Requirement(term["key"], term["operator"], frozenset(term.get("values") or ()))
        for term in selector.get("matchExpressions") or ()
    ]
    return LabelSelector(tuple(terms))
