"""Deleted namespaces: emptied, then let go.

Every kind's objects are deleted; while finalizers hold some back, the namespace's conditions say
which. It is looked at again whenever something in it changes, so nothing is polled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.resources import known_resources
from kubeling.engine.workloads.writing import all_of, write_status
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import Conflict, MethodNotAllowed, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    key_of,
    name,
    namespace,
    set_condition,
)
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, EVENTS, NAMESPACES, Resource

__all__ = ["controller", "remaining_messages"]

_FINALIZER: Final = "kubernetes"
_LOOK_AGAIN: Final = 15.0


def controller(context: Context) -> Controller:
    """The namespace controller."""
    return _NamespaceController(context)


class _NamespaceController(Controller):
    """Follows the kinds it has to wait for only while a namespace is going."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "namespace-controller",
            NAMESPACES,
            self._empty,
            watches={CUSTOM_RESOURCE_DEFINITIONS: lambda _: ()},
            workers=2,
        )
        self._context = context
        self._client = context.client
        self._namespaces = context.informers.of(NAMESPACES)
        self._followed: set[Resource] = set()

    async def _empty(self, key: Key) -> Result | None:
        found = self._namespaces.get(*key)
        if found is None or not deletion_requested(found):
            return None
        if _FINALIZER not in (found["spec"].get("finalizers") or ()):
            return None
        left = await self._delete_content(name(found))
        if left:
            await self._report(found, left)
            return Result(_LOOK_AGAIN)
        finalizers = [f for f in found["spec"]["finalizers"] if f != _FINALIZER]
        await self._client.replace(
            NAMESPACES,
            {**found, "metadata": dict(found["metadata"]), "spec": {"finalizers": finalizers}},
            subresource="finalize",
        )
        return None

    async def _delete_content(self, title: str) -> list[Obj]:
        left: list[Obj] = []
        resources = [r for r in known_resources(self._context.informers) if r.namespaced]
        for resource in resources:
            left += await self._delete_kind(resource, title)
        if not left:
            await self._client.delete_collection(EVENTS, title)
        return left

    async def _delete_kind(self, resource: Resource, title: str) -> list[Obj]:
        try:
            present = await self._client.list(resource, title)
            doomed = [obj for obj in present.items if not deletion_requested(obj)]
            await all_of(self._delete(resource, obj) for obj in doomed)
            left = (await self._client.list(resource, title)).items if doomed else present.items
        except (NotFound, MethodNotAllowed):
            return []
        if left:
            self._follow(resource)
        return left

    async def _delete(self, resource: Resource, obj: Obj) -> None:
        try:
            await self._client.delete(
                resource, name(obj), namespace(obj), propagation="Background", missing_ok=True
            )
        except Conflict:
            return

    def _follow(self, resource: Resource) -> None:
        """From now on a change of such an object wakes its namespace, if that is going."""
        if resource not in self._followed:
            self._followed.add(resource)
            self._context.informers.of(resource).add_handler(self._on_change)

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and deletion_requested(new) and old is not None:
            return
        shown = new if new is not None else old
        assert shown is not None
        if (found := self._namespaces.get("", namespace(shown))) and deletion_requested(found):
            self.wake(key_of(found))

    async def _report(self, found: Obj, left: list[Obj]) -> None:
        status: Obj = deep_copy(found.get("status") or {})
        now = self._context.clock.now()
        for type_, (value, reason, message) in remaining_messages(left).items():
            set_condition(status, type_, value, reason=reason, message=message, now=now)
        await write_status(self._client, NAMESPACES, found, status)


def remaining_messages(left: Iterable[Obj]) -> Mapping[str, tuple[bool, str, str]]:
    """The conditions that tell what is left in a namespace and what holds it."""
    objects = list(left)
    kinds = Counter(obj["kind"] for obj in objects)
    holders = Counter(f for obj in objects for f in obj["metadata"].get("finalizers") or ())
    content = ", ".join(f"{kind} has {n} resource instances" for kind, n in sorted(kinds.items()))
    held = ", ".join(f"{f} in {n} resource instances" for f, n in sorted(holders.items()))
    return {
        "NamespaceDeletionContentFailure": (
            False,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            True,
            "SomeResourcesRemain",
            f"Some resources are remaining: {content}",
        ),
        "NamespaceFinalizersRemaining": (
            bool(holders),
            "SomeFinalizersRemain" if holders else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if holders
            else "All content-preserving finalizers finished",
        ),
    }
