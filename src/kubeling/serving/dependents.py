"""Writes the objects a service owns: only what differs, and never what is another's."""

from __future__ import annotations

from kubeling.kube import objects
from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.events import EventRecorder
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import Resource

__all__ = ["Dependents"]


class Dependents:
    """Creates, updates and deletes objects; the caches say what there is."""

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        self._client = client
        self._informers = informers
        self._recorder = recorder

    async def ensure(self, resource: Resource, isvc: Obj, wanted: Obj) -> None:
        """Creates an object or brings its spec up to date; a namesake of others is left alone."""
        found = self._informers.of(resource).get(namespace(wanted), name(wanted))
        if found is None:
            await self.create(resource, wanted)
        elif not objects.is_owned_by(found, isvc):
            await self._recorder.warning(
                isvc,
                "NameTaken",
                f"{resource.kind} {name(wanted)} exists and is not this service's; rename one",
            )
        elif _addressed(found) != _addressed(wanted):
            # A Service's address cannot be taken from it; the next look makes it anew.
            await self.delete(resource, found)
        elif not _covers(found["spec"], wanted["spec"]):
            patch = {"spec": wanted["spec"]}
            await self._client.patch(resource, name(wanted), patch, namespace(wanted))

    async def create(self, resource: Resource, wanted: Obj) -> None:
        try:
            await self._client.create(resource, wanted)
        except AlreadyExists:
            # The cache is behind; the event that it catches up with comes back here.
            return

    async def delete(self, resource: Resource, obj: Obj) -> None:
        await self._client.delete(
            resource, name(obj), namespace(obj), uid=objects.uid(obj), missing_ok=True
        )


def _addressed(obj: Obj) -> tuple[object, bool]:
    """How a Service is reached: its type, and whether it has no address of its own."""
    return obj["spec"].get("type"), obj["spec"].get("clusterIP") == "None"


def _covers(found: object, wanted: object) -> bool:
    """Whether everything wanted is there; what the server added besides does not matter."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _covers(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_covers, found, wanted))
    return found == wanted
