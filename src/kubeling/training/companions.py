"""What a job needs beside its pods and Services: stated whole, made and kept as stated.

A kind says what must hold as a list of :class:`Companion`, anew on every pass; this module brings
it about. Companions are looked up rather than watched: jobs that need any are few, and every
change of their pods asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists, Conflict, NotFound
from kubeling.kube.objects import Obj, is_owned_by, new_object, uid
from kubeling.kube.resources import Resource

__all__ = ["Companion", "InTheWay", "keep"]


class Companion(NamedTuple):
    """One object of the job's; without ``content`` it must not be there.

    ``content`` are the sections beside ``metadata``. A ``shared`` one may be somebody else's: it is
    made where it is missing and otherwise left as it is. An ``optional`` one is done without where
    the API does not know its kind.
    """

    resource: Resource
    name: str
    content: Mapping[str, Any] | None
    shared: bool = False
    optional: bool = False


class InTheWay(Conflict):
    """An object of the name is there already and is not of this job."""


async def keep(client: Client, job: Obj, companions: Iterable[Companion]) -> None:
    """Makes, mends and removes what the list says; raises :class:`InTheWay` for others' objects."""
    for companion in companions:
        await _keep(client, job, companion)


async def _keep(client: Client, job: Obj, wanted: Companion) -> None:
    resource, where = wanted.resource, job["metadata"]["namespace"]
    found = await client.find(resource, wanted.name, where)
    if wanted.content is None:
        if found is not None and is_owned_by(found, job):
            await client.delete(resource, wanted.name, where, uid=uid(found), missing_ok=True)
        return
    if found is None:
        await _create(
            client, new_object(resource, wanted.name, where, owner=job, **wanted.content), wanted
        )
        return
    if wanted.shared:
        return
    if not is_owned_by(found, job):
        raise InTheWay(f"{resource.kind} {wanted.name} exists and is not of this job; delete it")
    if not _holds(found, wanted.content):
        await client.patch(resource, wanted.name, dict(wanted.content), where)


async def _create(client: Client, made: Obj, wanted: Companion) -> None:
    try:
        await client.create(wanted.resource, made)
    except AlreadyExists as error:
        raise Conflict(str(error)) from error
    except NotFound:
        if not wanted.optional:
            raise


def _holds(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; the API adds defaults, which do not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and _holds(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_holds(*pair) for pair in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)
