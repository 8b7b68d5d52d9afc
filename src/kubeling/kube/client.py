"""The client every room uses: the verbs of the Kubernetes API over any transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS, Resource
from kubeling.kube.transport import (
    APPLY_PATCH,
    JSON,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Request,
    Transport,
    WatchEvent,
)

__all__ = ["Client", "ObjectList", "PatchType", "Propagation"]

PatchType = Literal["merge", "json", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCHES = {"merge": MERGE_PATCH, "json": JSON_PATCH, "strategic": STRATEGIC_PATCH}


@dataclass(frozen=True, slots=True)
class ObjectList:
    """What a list returned: the objects and the version to watch from."""

    items: list[Obj]
    resource_version: str
    continue_token: str = ""


class Client:
    """Speaks to one API server.

    Objects given are sent as they are; objects returned belong to the caller. Failures are
    :class:`~kubeling.kube.errors.ApiError` (the server refused) and :class:`ConnectionError` (it
    could not be reached).
    """

    def __init__(self, transport: Transport, field_manager: str = "kubeling") -> None:
        self.transport = transport
        self.field_manager = field_manager

    async def get(
        self, resource: Resource, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Obj:
        """Reads one object."""
        return await self._send("GET", resource.path(namespace, name, subresource))

    async def find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """Reads one object, or ``None`` where there is none."""
        try:
            return await self.get(resource, name, namespace)
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """Reads a collection; without a namespace, in all of them."""
        query = _selectors(labels, fields)
        if limit:
            query["limit"] = str(limit)
        if continue_token:
            query["continue"] = continue_token
        answer = await self._send("GET", resource.path(namespace), query)
        metadata = answer.get("metadata") or {}
        items: list[Obj] = answer.get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ObjectList(items, metadata.get("resourceVersion", ""), metadata.get("continue", ""))

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        labels: str = "",
        fields: str = "",
        timeout_seconds: int = 0,
        bookmarks: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes after ``resource_version`` (empty: the present state first).

        Ends when the server closes the stream; raises :class:`~kubeling.kube.errors.Gone` when
        the version is too old. With ``bookmarks`` there are ``BOOKMARK`` events, which only carry
        a newer resource version.
        """
        query = {"watch": "true", **_selectors(labels, fields)}
        if bookmarks:
            query["allowWatchBookmarks"] = "true"
        if resource_version:
            query["resourceVersion"] = resource_version
        if timeout_seconds:
            query["timeoutSeconds"] = str(timeout_seconds)
        return self.transport.watch(Request("GET", resource.path(namespace), query))

    async def create(
        self, resource: Resource, obj: Obj, namespace: str = "", *, dry_run: bool = False
    ) -> Obj:
        """Creates an object in its own namespace, or in ``namespace`` where it names none."""
        path = resource.path(namespace or obj["metadata"].get("namespace", ""))
        return await self._send("POST", path, self._write(dry_run), obj)

    async def create_subresource(
        self, resource: Resource, name: str, namespace: str, subresource: str, body: Obj
    ) -> Obj:
        """Posts to a subresource (``token``, ``eviction``, ``binding``)."""
        path = resource.path(namespace, name, subresource)
        return await self._send("POST", path, self._write(False), body)

    async def replace(
        self, resource: Resource, obj: Obj, *, subresource: str = "", dry_run: bool = False
    ) -> Obj:
        """Replaces an object; a stale ``resourceVersion`` raises ``Conflict``."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._send("PUT", path, self._write(dry_run), obj)

    async def replace_status(self, resource: Resource, obj: Obj) -> Obj:
        """Writes only ``status``; a stale ``resourceVersion`` raises ``Conflict``."""
        return await self.replace(resource, obj, subresource="status")

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Patches an object (RFC 7386, RFC 6902 or strategic merge)."""
        path = resource.path(namespace, name, subresource)
        return await self._send("PATCH", path, self._write(dry_run), patch, _PATCHES[type])

    async def patch_status(
        self, resource: Resource, name: str, status: Obj, namespace: str = ""
    ) -> Obj:
        """Merges ``status`` into the object's status."""
        return await self.patch(resource, name, {"status": status}, namespace, subresource="status")

    async def apply(
        self,
        resource: Resource,
        obj: Obj,
        *,
        field_manager: str = "",
        force: bool = True,
        subresource: str = "",
        dry_run: bool = False,
        strict: bool = False,
    ) -> Obj:
        """Server-side apply: creates or updates exactly the fields that ``obj`` states.

        ``strict`` has the server refuse fields that the kind does not have.
        """
        metadata = obj["metadata"]
        query = self._write(dry_run)
        query["fieldManager"] = field_manager or self.field_manager
        query["force"] = "true" if force else "false"
        if strict:
            query["fieldValidation"] = "Strict"
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._send("PATCH", path, query, obj, APPLY_PATCH)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
        uid: str = "",
        missing_ok: bool = False,
    ) -> Obj:
        """Deletes an object; ``uid`` guards against deleting a namesake."""
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            return await self._send("DELETE", resource.path(namespace, name), {}, options)
        except NotFound:
            if missing_ok:
                return {}
            raise

    async def delete_collection(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> None:
        """Deletes every object the selectors match."""
        await self._send("DELETE", resource.path(namespace), _selectors(labels, fields))

    async def get_scale(self, resource: Resource, name: str, namespace: str) -> Obj:
        """Reads the ``scale`` subresource (autoscaling/v1 Scale)."""
        return await self.get(resource, name, namespace, subresource="scale")

    async def set_scale(self, resource: Resource, name: str, namespace: str, replicas: int) -> Obj:
        """Sets ``spec.replicas`` through the ``scale`` subresource."""
        body = {"spec": {"replicas": replicas}}
        return await self.patch(resource, name, body, namespace, subresource="scale")

    def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yields a container's log as it is written."""
        query: dict[str, str] = {}
        if container:
            query["container"] = container
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        for key, wanted in (
            ("follow", follow),
            ("previous", previous),
            ("timestamps", timestamps),
        ):
            if wanted:
                query[key] = "true"
        return self.transport.stream(Request("GET", PODS.path(namespace, name, "log"), query))

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        accept: str = JSON,
    ) -> Obj:
        """Sends a request to any path (discovery, ``/version``, tables)."""
        return await self.transport.send(Request(method, path, query or {}, body, accept=accept))

    def acting_as(self, user: str) -> Client:
        """A client whose requests are made in the name of another user, by that user's rights.

        For a service account the name is ``system:serviceaccount:NAMESPACE:NAME``; its groups
        follow from it. It shares this client's connections, so only this one is closed.
        """
        return Client(_ActingAs(self.transport, user), self.field_manager)

    async def close(self) -> None:
        await self.transport.close()

    def _write(self, dry_run: bool) -> dict[str, str]:
        query = {"fieldManager": self.field_manager}
        if dry_run:
            query["dryRun"] = "All"
        return query

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Obj:
        return await self.transport.send(Request(method, path, query or {}, body, content_type))


class _ActingAs:
    """A transport that puts a user's name on what passes through."""

    def __init__(self, transport: Transport, user: str) -> None:
        self._transport = transport
        self._user = user

    async def send(self, request: Request) -> Obj:
        return await self._transport.send(replace(request, acting_as=self._user))

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        return self._transport.watch(replace(request, acting_as=self._user))

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self._transport.stream(replace(request, acting_as=self._user))

    async def close(self) -> None:
        """Nothing: the transport is another's."""


def _selectors(labels: str, fields: str) -> dict[str, str]:
    query = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query
