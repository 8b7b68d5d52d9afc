"""The objects that trials run: created once, watched whatever their kind is, ended in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubeling.component import Context
from kubeling.kube.errors import AlreadyExists, Invalid
from kubeling.kube.informer import Informer
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    is_owned_by,
    name,
    namespace,
    owner_reference,
    uid,
)
from kubeling.kube.resources import JOBS, Resource
from kubeling.tuning.discovery import ResourceFinder
from kubeling.tuning.instrumentation import instrumented
from kubeling.tuning.resources import TRIALS

__all__ = ["TrialJobs"]

_SUSPEND: Final = {
    "batch": {"spec": {"suspend": True}},
    "trainer.kubeflow.org": {"spec": {"suspend": True}},
    "kubeflow.org": {"spec": {"runPolicy": {"suspend": True}}},
}
"""By API group, how an object that is to be kept stops running."""


class TrialJobs:
    """Finds, creates and ends the objects of trials; ``changed`` is told whose object changed."""

    def __init__(self, context: Context, changed: Callable[[Key], None]) -> None:
        self._client = context.client
        self._informers = context.informers
        self._finder = ResourceFinder(context.client)
        self._changed = changed
        self._watched: dict[Resource, Informer] = {}

    async def existing(self, trial: Obj) -> Obj | None:
        """The trial's object, if it is there and its own."""
        resource = await self._resource(trial)
        found = self._watched[resource].get(namespace(trial), name(trial))
        return found if found is not None and is_owned_by(found, trial) else None

    async def ensure(self, trial: Obj) -> tuple[Obj | None, bool]:
        """The trial's object and whether it was only now created.

        Raises :class:`UnknownKindError` where there is no such kind, and what the server says of
        an object that it refuses.
        """
        resource = await self._resource(trial)
        found = self._watched[resource].get(namespace(trial), name(trial))
        if found is not None and is_owned_by(found, trial):
            return found, False
        body = instrumented(trial)
        body["metadata"]["ownerReferences"] = [owner_reference(trial)]
        try:
            return await self._create(resource, body, namespace(trial)), True
        except AlreadyExists:
            there = await self._client.find(resource, name(trial), namespace(trial))
            if there is not None and not is_owned_by(there, trial):
                said = f"{resource.kind} {name(trial)} exists and belongs to something else"
                raise Invalid(said) from None
            return there, False

    async def _create(self, resource: Resource, body: Obj, namespace: str) -> Obj:
        """Creates the object; a Job, as upstream, with no field that a Job does not have."""
        if resource != JOBS:
            return await self._client.create(resource, body, namespace)
        strictly = {"fieldManager": "kubeling", "fieldValidation": "Strict"}
        path = resource.path(namespace)
        return await self._client.raw("POST", path, query=strictly, body=body)

    async def end(self, trial: Obj, *, keep: bool) -> bool:
        """Deletes the object, or where it is to be kept stops it; whether there was any to end."""
        resource = await self._resource(trial)
        job = await self.existing(trial)
        if job is None or deletion_requested(job):
            return False
        if keep and (patch := _SUSPEND.get(resource.group)) is not None:
            await self._client.patch(resource, name(job), patch, namespace(job))
            return True
        await self._client.delete(
            resource,
            name(job),
            namespace(job),
            uid=uid(job),
            propagation="Background",
            missing_ok=True,
        )
        return True

    async def _resource(self, trial: Obj) -> Resource:
        """The resource of the trial's object, watched from now on."""
        resource = await self._finder.of(trial["spec"]["runSpec"])
        if resource not in self._watched:
            informer = self._watched[resource] = self._informers.of(resource)
            informer.add_handler(self._job_changed)
        await self._informers.synced(resource)
        return resource

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        owner = controller_of(obj) if obj is not None else None
        if obj is not None and owner is not None and owner.get("kind") == TRIALS.kind:
            self._changed(Key(namespace(obj), owner["name"]))
