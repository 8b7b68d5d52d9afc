"""Writing status, and doing several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["all_of", "write_status"]


async def write_status(client: Client, resource: Resource, obj: Obj, status: Obj) -> bool:
    """Replaces an object's status if it differs; tells whether it did.

    ``obj`` may come from a cache: a newer version elsewhere raises ``Conflict``.
    """
    if status == (obj.get("status") or {}):
        return False
    written = {**obj, "metadata": dict(obj["metadata"]), "status": status}
    await client.replace_status(resource, written)
    return True


async def all_of(calls: Iterable[Awaitable[object]]) -> None:
    """Runs calls side by side to their ends; then raises the first failure."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
