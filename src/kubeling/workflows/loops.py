"""``withItems``, ``withParam`` and ``withSequence``: one call becomes several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from kubeling.kube.objects import Obj
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.variables import parameter_text

__all__ = ["Iteration", "is_loop", "iterations"]


class Iteration(NamedTuple):
    """One round: ``suffix`` ends the node's name, ``values`` are ``item`` and its members."""

    suffix: str
    values: dict[str, str]


def is_loop(step: Mapping[str, Any]) -> bool:
    """Whether a step is to be run for several items."""
    return any(step.get(k) is not None for k in ("withItems", "withSequence")) or bool(
        step.get("withParam")
    )


def iterations(step: Obj, scope: Scope) -> list[Iteration]:
    """The rounds of a loop; raises :class:`Unresolved` where the items cannot be had."""
    return [_iteration(number, item) for number, item in enumerate(_items(step, scope))]


def _items(step: Obj, scope: Scope) -> list[Any]:
    if step.get("withItems") is not None:
        items: list[Any] = scope.render(step["withItems"])
        return items
    if text := step.get("withParam"):
        return _from_json(scope.render(text))
    return list(_numbers(scope.render(step["withSequence"])))


def _from_json(text: str) -> list[Any]:
    try:
        return msgspec.json.decode(text, type=list[Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        shown = f"{text.strip()[:200]}: {error}"
        raise Unresolved(f"withParam value could not be parsed as a JSON list: {shown}") from None


def _numbers(sequence: Obj) -> Iterator[str]:
    start = _whole(sequence.get("start") or 0)
    if sequence.get("count") not in (None, ""):
        end = start + _whole(sequence["count"]) - 1
        if end < start:
            return
    else:
        end = _whole(sequence.get("end") or 0)
    template = sequence.get("format") or "%d"
    for number in range(start, end + 1) if start <= end else range(start, end - 1, -1):
        try:
            yield template % number
        except (TypeError, ValueError) as error:
            raise Unresolved(f'withSequence.format "{template}": {error}') from None


def _whole(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise Unresolved(f'withSequence: "{value}" is not a whole number') from None


def _iteration(number: int, item: Any) -> Iteration:
    text = parameter_text(item)
    values = {"item": text}
    label = text
    if isinstance(item, dict):
        members = {key: parameter_text(value) for key, value in item.items()}
        values.update({f"item.{key}": value for key, value in members.items()})
        label = ",".join(f"{key}:{members[key]}" for key in sorted(members))
    return Iteration(f"({number}:{label})", values)
