"""Several calls to the API at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

__all__ = ["together"]


async def together(calls: Iterable[Awaitable[None]]) -> None:
    """Runs calls side by side; the first failure is raised after the others were cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(_awaiting(call))
    except* Exception as failures:
        raise failures.exceptions[0] from None


async def _awaiting(call: Awaitable[None]) -> None:
    await call
