"""ControllerRevisions: the templates a StatefulSet or DaemonSet has had, numbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.digest import template_digest
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.resources import CONTROLLER_REVISIONS
from kubeling.engine.workloads.sightings import Sightings
from kubeling.kube import objects, selectors
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    key_of,
    name,
    namespace,
    new_object,
    uid,
)

__all__ = ["HASH_LABEL", "Revisions", "template_of"]

HASH_LABEL: Final = "controller-revision-hash"


def template_of(revision: Obj) -> Obj:
    """The pod template a revision keeps."""
    template: Obj = deep_copy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


class Revisions:
    """The revisions of one kind's objects."""

    def __init__(self, context: Context, label: str = HASH_LABEL) -> None:
        self._label = label
        self._client = context.client
        self._cache = context.informers.of(CONTROLLER_REVISIONS)
        self._sightings = Sightings(self._cache)

    def of(self, owner: Obj) -> list[Obj]:
        """The owner's revisions, oldest first."""
        return sorted(self._cache.owned_by(uid(owner)), key=lambda found: int(found["revision"]))

    def named(self, owner: Obj, title: str) -> Obj | None:
        return next((found for found in self.of(owner) if name(found) == title), None)

    async def newest(self, owner: Obj) -> Obj:
        """The revision of the owner's present template, made or renumbered if it has to be.

        Revisions that an earlier owner left behind are taken in.
        """
        selector = selectors.from_object(owner["spec"]["selector"])
        await claim(self._client, self._cache, owner, selector)
        template = {"$patch": "replace", **owner["spec"]["template"]}
        known = self.of(owner)
        number = int(known[-1]["revision"]) + 1 if known else 1
        same = next((found for found in known if _content(found) == template), None)
        if same is None:
            return await self._create(owner, template, number)
        if same is known[-1]:
            return same
        return await self._client.patch(
            CONTROLLER_REVISIONS, name(same), {"revision": number}, namespace(owner)
        )

    async def forget(self, owner: Obj, used: Iterable[str]) -> None:
        """Deletes the oldest unused revisions beyond ``revisionHistoryLimit``."""
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        kept = set(used)
        spare: Sequence[Obj] = [found for found in self.of(owner) if name(found) not in kept]
        for revision in spare[: max(0, len(spare) - limit)]:
            await self._client.delete(
                CONTROLLER_REVISIONS, name(revision), namespace(owner), missing_ok=True
            )

    async def _create(self, owner: Obj, template: Obj, number: int) -> Obj:
        digest = template_digest(template)
        metadata = owner["spec"]["template"].get("metadata") or {}
        revision = new_object(
            CONTROLLER_REVISIONS,
            f"{name(owner)}-{digest}",
            namespace(owner),
            labels={**(metadata.get("labels") or {}), self._label: digest},
            annotations=objects.annotations(owner),
            owner=owner,
            data={"spec": {"template": deep_copy(template)}},
            revision=number,
        )
        title = name(revision)
        seen = self._sightings.expect(key_of(revision))
        try:
            created = await self._client.create(CONTROLLER_REVISIONS, revision)
        except AlreadyExists:
            seen.cancel()
            return await self._client.get(CONTROLLER_REVISIONS, title, namespace(owner))
        await self._sightings.arrived(seen)
        return created


def _content(revision: Obj) -> Obj:
    content: Obj = revision["data"]["spec"]["template"]
    return content
