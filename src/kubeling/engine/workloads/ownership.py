"""Which objects belong to a controller: those it owns, and orphans its selector finds.

An owned object that the selector no longer matches is let go; an orphan that it matches is taken
in. That is how pods survive ``kubectl delete --cascade=orphan`` and find a new owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubeling.kube.client import Client
from kubeling.kube.errors import Invalid, NotFound
from kubeling.kube.informer import Informer
from kubeling.kube.objects import (
    Obj,
    controller_of,
    deletion_requested,
    labels,
    name,
    namespace,
    owner_reference,
    uid,
)
from kubeling.kube.resources import Resource
from kubeling.kube.selectors import LabelSelector

__all__ = ["Claims", "claim", "sort_out"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What is the owner's, what it should take in, and what it should let go."""

    kept: tuple[Obj, ...]
    adopt: tuple[Obj, ...]
    release: tuple[Obj, ...]


def sort_out(owner: Obj, selector: LabelSelector, candidates: Iterable[Obj]) -> Claims:
    """Sorts candidates of the owner's namespace; an owner that is going takes nothing in."""
    kept: list[Obj] = []
    adopt: list[Obj] = []
    release: list[Obj] = []
    going = deletion_requested(owner)
    for obj in candidates:
        matches = selector.matches(labels(obj))
        controller = controller_of(obj)
        if controller is not None:
            if controller["uid"] == uid(owner):
                (kept if matches or going else release).append(obj)
        elif matches and not going and not deletion_requested(obj):
            adopt.append(obj)
    return Claims(tuple(kept), tuple(adopt), tuple(release))


async def claim(
    client: Client,
    informer: Informer,
    owner: Obj,
    selector: LabelSelector,
    *,
    finalizer: str = "",
    member: Callable[[Obj, Obj], bool] | None = None,
) -> list[Obj]:
    """The objects that are the owner's, after taking in and letting go.

    What is taken in gets the finalizer. With ``member``, of owner and object, only those that pass
    are looked at.
    """
    if not selector:
        return informer.owned_by(uid(owner))
    listed = informer.list(namespace(owner))
    candidates = [obj for obj in listed if member(owner, obj)] if member else listed
    claims = sort_out(owner, selector, candidates)
    resource = informer.resource
    adopted = [await _adopt(client, resource, owner, obj, finalizer) for obj in claims.adopt]
    for obj in claims.release:
        await _release(client, informer.resource, owner, obj)
    return [*claims.kept, *(obj for obj in adopted if obj is not None)]


async def _adopt(
    client: Client, resource: Resource, owner: Obj, obj: Obj, finalizer: str
) -> Obj | None:
    references = [*(obj["metadata"].get("ownerReferences") or ()), owner_reference(owner)]
    held = obj["metadata"].get("finalizers") or []
    more = {"finalizers": [*held, finalizer]} if finalizer and finalizer not in held else {}
    return await _set_references(client, resource, obj, references, more)


async def _release(client: Client, resource: Resource, owner: Obj, obj: Obj) -> None:
    references = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid(owner)]
    await _set_references(client, resource, obj, references)


async def _set_references(
    client: Client,
    resource: Resource,
    obj: Obj,
    references: list[Obj],
    more: Mapping[str, Any] | None = None,
) -> Obj | None:
    metadata = obj["metadata"]
    patch = {
        "metadata": {
            **(more or {}),
            "ownerReferences": references,
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
    }
    try:
        return await client.patch(resource, name(obj), patch, namespace(obj))
    except (NotFound, Invalid):
        # It is gone, or a namesake has taken its place.
        return None
