"""Everything an object owns, down to its pods."""

from __future__ import annotations

import asyncio

from kubeling.cli.connection import Connection
from kubeling.kube.diagnosis import OwnerTree
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import EVENTS, PODS, Resource

__all__ = ["owner_tree", "pods_below"]

_NEVER_OWNERS = frozenset({"events", "endpoints", "endpointslices", "leases"})


async def owner_tree(connection: Connection, namespace: str) -> OwnerTree:
    """The owner tree of a namespace, events included."""
    kinds = [
        found.resource
        for found in await connection.discovery.all()
        if found.resource.namespaced
        and "list" in found.verbs
        and found.preferred
        and found.resource.plural not in _NEVER_OWNERS
    ]
    lists = await asyncio.gather(*(_list(connection, kind, namespace) for kind in [*kinds, EVENTS]))
    *objects, events = lists
    return OwnerTree([obj for listed in objects for obj in listed], events)


def pods_below(root: Obj, tree: OwnerTree) -> list[Obj]:
    """The pods an object owns, directly or through others."""
    if root.get("kind") == PODS.kind:
        return [root]
    return [pod for child in tree.dependents(root) for pod in pods_below(child, tree)]


async def _list(connection: Connection, resource: Resource, namespace: str) -> list[Obj]:
    try:
        return (await connection.client.list(resource, namespace)).items
    except ApiError:
        # A kind the user may not read is no part of what they can be told.
        return []
