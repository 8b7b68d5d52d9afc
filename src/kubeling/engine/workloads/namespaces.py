"""Deleted namespaces: emptied, then let go.

Every kind's objects are deleted; while finalizers hold some back, the namespace's conditions say
which. It is looked at again whenever something in it changes, so nothing is polled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.resources import known_resources
from kubeling.engine.workloads.writing import all_of, write_status
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError, Conflict, MethodNotAllowed, NotFound
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

__all__ = ["controller", "deletion_conditions"]

_FINALIZER: Final = "kubernetes"
_LOOK_AGAIN: Final = 15.0
_ALL_WELL: Final = {
    "NamespaceDeletionDiscoveryFailure": (
        False,
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        False,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        False,
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": (False, "ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        False,
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}

Left = Mapping[Resource, Sequence[Obj]]
"""What is left in a namespace, by resource."""


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
        left, failures = await self._delete_content(name(found))
        if left or failures:
            await self._report(found, left, failures)
            return Result(_LOOK_AGAIN)
        finalizers = [f for f in found["spec"]["finalizers"] if f != _FINALIZER]
        await self._client.replace(
            NAMESPACES,
            {**found, "metadata": dict(found["metadata"]), "spec": {"finalizers": finalizers}},
            subresource="finalize",
        )
        return None

    async def _delete_content(self, title: str) -> tuple[Left, list[str]]:
        left: dict[Resource, list[Obj]] = {}
        failures: list[str] = []
        for resource in known_resources(self._context.informers):
            if not resource.namespaced:
                continue
            try:
                if present := await self._delete_kind(resource, title):
                    left[resource] = present
            except ApiError as error:
                failures.append(str(error))
        if not left and not failures:
            await self._client.delete_collection(EVENTS, title)
        return left, failures

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

    async def _report(self, found: Obj, left: Left, failures: list[str]) -> None:
        status: Obj = deep_copy(found.get("status") or {})
        now = self._context.clock.now()
        for type_, (value, reason, message) in deletion_conditions(left, failures).items():
            set_condition(status, type_, value, reason=reason, message=message, now=now)
        await write_status(self._client, NAMESPACES, found, status)


def deletion_conditions(
    left: Left, failures: Sequence[str] = ()
) -> Mapping[str, tuple[bool, str, str]]:
    """The conditions that tell what is left in a namespace, what holds it, and what went wrong."""
    objects = [obj for found in left.values() for obj in found]
    kinds = sorted((f"{kind.plural}.{kind.group}", len(found)) for kind, found in left.items())
    holders = Counter(f for obj in objects for f in obj["metadata"].get("finalizers") or ())
    conditions = dict(_ALL_WELL)
    if failures:
        message = f"Failed to delete all resource types, {len(failures)} remaining: "
        conditions["NamespaceDeletionContentFailure"] = (
            True,
            "ContentDeletionFailed",
            message + ", ".join(sorted(failures)),
        )
    if kinds:
        listed = ", ".join(f"{kind} has {n} resource instances" for kind, n in kinds)
        message = f"Some resources are remaining: {listed}"
        conditions["NamespaceContentRemaining"] = (True, "SomeResourcesRemain", message)
    if holders:
        listed = ", ".join(f"{f} in {n} resource instances" for f, n in sorted(holders.items()))
        message = f"Some content in the namespace has finalizers remaining: {listed}"
        conditions["NamespaceFinalizersRemaining"] = (True, "SomeFinalizersRemain", message)
    return conditions
