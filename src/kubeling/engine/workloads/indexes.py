"""Sets of numbers as Jobs write them: ``0-3,5,7-8``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["format_indexes", "parse_indexes"]


def parse_indexes(text: str) -> Iterator[int]:
    """The numbers a text such as ``0-3,5`` names."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def format_indexes(numbers: Iterable[int]) -> str:
    """The shortest such text; two neighbours are written ``1,2``, three ``1-3``."""
    parts: list[str] = []
    run: list[int] = []
    for number in [*sorted(numbers), None]:
        if run and (number is None or number != run[-1] + 1):
            parts += _part(run)
            run = []
        if number is not None:
            run.append(number)
    return ",".join(parts)


def _part(run: list[int]) -> list[str]:
    if len(run) > 2:
        return [f"{run[0]}-{run[-1]}"]
    return [str(number) for number in run]
