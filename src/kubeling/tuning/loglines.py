"""Log lines as they arrive, whatever a trial writes.

A line is cut off where it gets absurdly long, and of very many readings ever fewer are filed, so
that a trial that prints without end costs bounded memory and disk. What is filed depends on the
place in the log only: reading it again files the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import Final

from kubeling.kube.objects import parse_time
from kubeling.tuning.metrics import LineParser, Reading

__all__ = ["gathered", "is_filed", "lines_of", "readings_of"]

_LONGEST: Final = 1 << 16
_ALL_UP_TO: Final = 10_000


async def lines_of(stream: AsyncIterator[bytes]) -> AsyncGenerator[list[str], None]:
    """Whole lines, in the batches they arrive in; closes the stream."""
    try:
        async for lines in _lines_of(stream):
            yield lines
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def _lines_of(stream: AsyncIterator[bytes]) -> AsyncIterator[list[str]]:
    rest, cut = b"", False
    async for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and cut:
            # The rest of a line whose beginning was given already.
            del whole[0]
            cut = False
        if len(rest) > _LONGEST:
            if not cut:
                whole.append(rest[:_LONGEST])
            rest, cut = b"", True
        if whole:
            yield [line[:_LONGEST].decode(errors="replace") for line in whole]
    if rest and not cut:
        yield [rest.decode(errors="replace")]


async def gathered(
    batches: AsyncGenerator[list[str], None], pause: float
) -> AsyncGenerator[list[str], None]:
    """The first lines at once, and then what has come since, when a pause has passed."""
    loop = asyncio.get_running_loop()
    waiting: list[str] = []
    due = loop.time()
    following = asyncio.ensure_future(anext(batches, None))
    try:
        while True:
            left = due - loop.time() if waiting else None
            if left is None or left > 0:
                await asyncio.wait({following}, timeout=left)
            if following.done():
                try:
                    found = following.result()
                except Exception:
                    # What came before the log broke off was written all the same.
                    if waiting:
                        yield waiting
                    raise
                if found is None:
                    break
                waiting += found
                following = asyncio.ensure_future(anext(batches, None))
                # Whatever is there already is gathered; others get their turn.
                await asyncio.sleep(0)
            if waiting and loop.time() >= due:
                yield waiting
                waiting, due = [], loop.time() + pause
        if waiting:
            yield waiting
    finally:
        following.cancel()
        await asyncio.wait({following})
        await batches.aclose()


def readings_of(lines: Iterable[str], parse: LineParser) -> Iterator[Reading]:
    """The readings of log lines, each of which begins with the time it was written."""
    for line in lines:
        stamp, _, text = line.partition(" ")
        for reading in parse(text):
            if reading.time is not None:
                yield reading
                continue
            try:
                yield Reading(reading.name, reading.value, parse_time(stamp))
            except ValueError:
                yield reading


def is_filed(place: int) -> bool:
    """Whether the reading at a place is kept: all at first, then every tenth, hundredth …"""
    step = 1
    while place >= _ALL_UP_TO * step:
        step *= 10
    return place % step == 0
