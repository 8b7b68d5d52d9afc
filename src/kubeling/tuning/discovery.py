"""Which resource stands behind an apiVersion and a kind, asked of the API server once each."""

from __future__ import annotations

from kubeling.kube.client import Client
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import BUILTIN, Resource

__all__ = ["ResourceFinder", "UnknownKindError"]


class UnknownKindError(Exception):
    """No API server resource has that kind; the message names it."""


class ResourceFinder:
    """Finds resources by discovery and remembers them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found = {(r.api_version, r.kind): r for r in BUILTIN}

    async def of(self, obj: Obj) -> Resource:
        """The resource of an object; raises :class:`UnknownKindError`."""
        api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        known = self._found.get((api_version, kind))
        if known is not None:
            return known
        found = await self._discover(api_version, kind)
        self._found[api_version, kind] = found
        return found

    async def _discover(self, api_version: str, kind: str) -> Resource:
        group, slash, version = api_version.partition("/")
        path = f"/apis/{api_version}" if slash else f"/api/{api_version}"
        try:
            answer = await self._client.raw("GET", path)
        except NotFound:
            answer = {}
        for entry in answer.get("resources") or ():
            if entry.get("kind") == kind and "/" not in entry["name"]:
                return Resource(
                    group if slash else "",
                    version if slash else group,
                    kind,
                    entry["name"],
                    bool(entry.get("namespaced")),
                )
        raise UnknownKindError(
            f'there is no kind "{kind}" in {api_version}; check apiVersion and kind of the '
            "trial template, or install its definition"
        )
