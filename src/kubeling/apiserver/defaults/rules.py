"""A small language for defaults: where they go, and what goes there.

``Rule("spec.ports[]", {"protocol": "TCP"})`` gives every port that names no protocol one. The
parts of a path must exist: a rule never makes the place it fills. Rules run in order, so one may
make an object that the next completes. What depends on other fields is a function of the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy

__all__ = ["Rule", "Rules", "default", "fill", "items", "part"]

_NESTED: Final = (dict, list)


@dataclass(frozen=True, slots=True)
class Rule:
    """``values`` for what is absent at each place of ``path``; or what fills the place instead.

    That is a function, or rules of its own.
    """

    path: str
    values: Obj | Callable[[Obj], None] | tuple[Rule, ...]
    _steps: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        steps = tuple(self.path.replace("[]", ".[]").split(".")) if self.path else ()
        object.__setattr__(self, "_steps", steps)

    def begins_in(self, obj: Obj) -> bool:
        """Whether the object has the first part of the path: most have few of what they could."""
        return not self._steps or self._steps[0] in obj

    def places(self, obj: Obj) -> list[Obj]:
        """The objects at the path; all parts that have another shape are passed over."""
        found: list[Any] = [obj]
        for step in self._steps:
            if step == "[]":
                found = [item for place in found if isinstance(place, list) for item in place]
            else:
                found = [p[step] for p in found if isinstance(p, dict) and step in p]
            if not found:
                return found
        return [place for place in found if isinstance(place, dict)]


Rules = dict[tuple[str, str], tuple[Rule, ...]]
"""Rules by API version and kind."""


def fill(obj: Obj, rules: Iterable[Rule]) -> None:
    """Applies rules in order."""
    for rule in rules:
        if not rule.begins_in(obj):
            continue
        for place in rule.places(obj):
            if isinstance(rule.values, dict):
                default(place, rule.values)
            elif isinstance(rule.values, tuple):
                fill(place, rule.values)
            else:
                rule.values(place)


def default(place: Obj, values: Obj) -> None:
    """Sets what is absent or ``null``."""
    for key, value in values.items():
        if place.get(key) is None:
            place[key] = deep_copy(value) if isinstance(value, _NESTED) else value


def part(place: Obj, key: str) -> Obj:
    """The object at a key; an empty one that belongs to nobody where there is none."""
    found = place.get(key)
    return found if isinstance(found, dict) else {}


def items(place: Obj, key: str) -> list[Obj]:
    """The objects of the list at a key."""
    found = place.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
