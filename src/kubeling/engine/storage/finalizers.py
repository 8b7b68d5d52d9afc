"""Marks that hold an object until whoever set them lets it go."""

from __future__ import annotations

import contextlib

from kubeling.kube.client import Client
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import Resource

__all__ = ["has_finalizer", "remove_finalizer", "with_finalizer"]


def has_finalizer(obj: Obj, finalizer: str) -> bool:
    return finalizer in (obj["metadata"].get("finalizers") or ())


def with_finalizer(obj: Obj, finalizer: str) -> list[str]:
    """The object's finalizers and this one."""
    present = obj["metadata"].get("finalizers") or []
    return present if finalizer in present else [*present, finalizer]


async def remove_finalizer(client: Client, resource: Resource, obj: Obj, finalizer: str) -> None:
    """Lets an object go, as far as this finalizer is concerned."""
    if not has_finalizer(obj, finalizer):
        return
    kept = [found for found in obj["metadata"]["finalizers"] if found != finalizer]
    patch = {"metadata": {"finalizers": kept or None}}
    with contextlib.suppress(NotFound):
        await client.patch(resource, name(obj), patch, namespace(obj))
