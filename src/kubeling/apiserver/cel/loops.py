"""The loops of macros. As in logic, an error of one item matters only if no other item decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.frames import Closure, Frame, Meter
from kubeling.apiserver.cel.syntax import Loop

__all__ = ["compile_loop"]

Advance = Callable[[Frame], Iterator[Any]]
"""Goes through the items: sets the variables, and gives what the first of them holds."""


def compile_loop(
    loop: Loop,
    over: Closure,
    slots: list[int],
    where: Closure | None,
    body: Closure,
    cost: int,
) -> Closure:
    """The closure of a loop; ``cost`` is that of one turn."""
    advance = _single(over, slots[0], cost) if len(slots) == 1 else _double(over, slots, cost)
    if where is not None:
        advance = _filtered(advance, where)
    return _LOOPS[loop](advance, body)


def _single(over: Closure, slot: int, cost: int) -> Advance:
    def advance(frame: Frame) -> Iterator[Any]:
        meter: Meter = frame[0]
        for item in _iterable(over(frame)):
            meter.spend(cost)
            frame[slot] = item
            yield item

    return advance


def _double(over: Closure, slots: list[int], cost: int) -> Advance:
    first, second = slots

    def advance(frame: Frame) -> Iterator[Any]:
        meter: Meter = frame[0]
        items = _iterable(over(frame))
        for key, item in items.items() if isinstance(items, dict) else enumerate(items):
            meter.spend(cost)
            frame[first], frame[second] = key, item
            yield key

    return advance


def _filtered(advance: Advance, where: Closure) -> Advance:
    def advance_some(frame: Frame) -> Iterator[Any]:
        for item in advance(frame):
            if where(frame):
                yield item

    return advance_some


def _iterable(value: Any) -> Iterable[Any]:
    if isinstance(value, list | dict):
        return value
    raise EvalError("no such overload")


def _all(advance: Advance, body: Closure) -> Closure:
    return _deciding(advance, body, decisive=False)


def _exists(advance: Advance, body: Closure) -> Closure:
    return _deciding(advance, body, decisive=True)


def _deciding(advance: Advance, body: Closure, *, decisive: bool) -> Closure:
    def decide(frame: Frame) -> bool:
        failed: EvalError | None = None
        for _ in advance(frame):
            try:
                if bool(body(frame)) is decisive:
                    return decisive
            except EvalError as error:
                failed = error
        if failed is not None:
            raise failed
        return not decisive

    return decide


def _exists_one(advance: Advance, body: Closure) -> Closure:
    return lambda frame: sum(1 for _ in advance(frame) if body(frame)) == 1


def _filter(advance: Advance, body: Closure) -> Closure:
    return lambda frame: [item for item in advance(frame) if body(frame)]


def _map(advance: Advance, body: Closure) -> Closure:
    return lambda frame: [body(frame) for _ in advance(frame)]


def _transform_map(advance: Advance, body: Closure) -> Closure:
    return lambda frame: {key: body(frame) for key in advance(frame)}


_LOOPS: Final[dict[Loop, Callable[[Advance, Closure], Closure]]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
}
