"""What an API server offers, and which resource a word on the command line means."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kubeling.cli.errors import CliError
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["Discovered", "Discovery"]


@dataclass(frozen=True, slots=True)
class Discovered:
    """A resource with the verbs the server supports on it."""

    resource: Resource
    verbs: frozenset[str]
    preferred: bool


class Discovery:
    """Asks the server once, when first needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: list[Discovered] | None = None

    async def all(self) -> list[Discovered]:
        """Every resource, in the server's order of preference."""
        if self._found is None:
            groups = (await self._client.raw("GET", "/apis")).get("groups") or []
            versions = [("v1", True)] + [
                (entry["groupVersion"], entry == group.get("preferredVersion"))
                for group in groups
                for entry in group["versions"]
            ]
            lists = await asyncio.gather(*(self._version(v, p) for v, p in versions))
            self._found = [found for listed in lists for found in listed]
        return self._found

    async def resolve(self, word: str) -> Resource:
        """The resource meant by ``pods``, ``pod``, ``po``, ``isvc`` or ``deployments.apps``."""
        wanted, _, group = word.lower().partition(".")
        matches = [
            entry.resource
            for entry in await self.all()
            if wanted in _spellings(entry.resource)
            and (not group or entry.resource.group.startswith(group))
        ]
        if not matches:
            raise CliError(
                f'the server has no resource type "{word}"',
                "List what there is with: kubectl api-resources",
            )
        return matches[0]

    async def of_object(self, obj: Obj) -> Resource:
        """The resource a manifest's ``apiVersion`` and ``kind`` name."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        for entry in await self.all():
            if entry.resource.api_version == api_version and entry.resource.kind == kind:
                return entry.resource
        raise CliError(
            f'the server has no kind "{kind}" in version "{api_version}"',
            "Check apiVersion and kind; a custom kind needs its CustomResourceDefinition first.",
        )

    async def _version(self, group_version: str, preferred: bool) -> list[Discovered]:
        group, _, version = group_version.rpartition("/")
        path = f"/apis/{group_version}" if group else f"/api/{version}"
        listed = await self._client.raw("GET", path)
        return [
            Discovered(_resource(group, version, entry), frozenset(entry["verbs"]), preferred)
            for entry in listed.get("resources") or []
            if "/" not in entry["name"]
        ]


def _resource(group: str, version: str, entry: Obj) -> Resource:
    return Resource(
        group,
        version,
        entry["kind"],
        entry["name"],
        bool(entry["namespaced"]),
        tuple(entry.get("shortNames") or ()),
        tuple(entry.get("categories") or ()),
    )


def _spellings(resource: Resource) -> set[str]:
    return {resource.plural, resource.kind.lower(), *resource.short_names}
