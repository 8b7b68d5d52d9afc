"""What an API server offers, and which resource a word or a manifest means.

Most of the platform names its resources (:mod:`kubeling.kube.resources`); only what users name has
to be looked up.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["Discovered", "Discovery", "UnknownKind"]


class UnknownKind(Exception):
    """The server does not offer what was asked for; ``remedy`` says what to try."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Discovered:
    """A resource with the verbs the server supports on it."""

    resource: Resource
    verbs: frozenset[str]
    preferred: bool
    """Whether this is the version to read it in: its group's preferred one if that has the kind,
    else the first that has it. Experiments are in v1beta1 only, in a group that prefers v1."""


class Discovery:
    """Asks the server once, when first needed, and again for what it did not know then."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: list[Discovered] | None = None

    async def all(self) -> list[Discovered]:
        """Every resource, in the server's order of preference."""
        if self._found is None:
            groups = (await self._client.raw("GET", "/apis")).get("groups") or []
            versions = ["v1", *(v for group in groups for v in _by_preference(group))]
            lists = await asyncio.gather(*(self._version(version) for version in versions))
            self._found = _told_preferred(found for listed in lists for found in listed)
        return self._found

    async def resolve(self, word: str) -> Resource:
        """The resource meant by ``pods``, ``pod``, ``po``, ``isvc`` or ``deployments.apps``.

        Raises :class:`UnknownKind`.
        """
        wanted, _, group = word.lower().partition(".")
        found = await self._first(
            lambda resource: (
                wanted in _spellings(resource) and (not group or resource.group.startswith(group))
            )
        )
        if found is None:
            known = {name for entry in await self.all() for name in _spellings(entry.resource)}
            close = difflib.get_close_matches(wanted, known, 1)
            raise UnknownKind(
                f'the server has no resource type "{word}"',
                f"Did you mean {close[0]}?"
                if close
                else "List what there is with: kubectl api-resources",
            )
        return found

    async def of_object(self, obj: Obj) -> Resource:
        """The resource of a manifest's ``apiVersion`` and ``kind``; raises :class:`UnknownKind`."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        found = await self._first(lambda r: r.api_version == api_version and r.kind == kind)
        if found is not None:
            return found
        raise UnknownKind(
            f'the server has no kind "{kind}" in version "{api_version}"',
            "Check apiVersion and kind; a custom kind needs its CustomResourceDefinition first.",
        )

    async def _first(self, wanted: Callable[[Resource], bool]) -> Resource | None:
        known = self._found is not None
        found = next((e.resource for e in await self.all() if wanted(e.resource)), None)
        if found is None and known:
            self._found = None
            found = next((e.resource for e in await self.all() if wanted(e.resource)), None)
        return found

    async def _version(self, group_version: str) -> list[tuple[Resource, frozenset[str]]]:
        group, _, version = group_version.rpartition("/")
        path = f"/apis/{group_version}" if group else f"/api/{version}"
        listed = await self._client.raw("GET", path)
        return [
            (_resource(group, version, entry), frozenset(entry["verbs"]))
            for entry in listed.get("resources") or []
            if "/" not in entry["name"]
        ]


def _by_preference(group: Obj) -> list[str]:
    """The versions of a group, the one it prefers first."""
    first = (group.get("preferredVersion") or {}).get("groupVersion")
    versions = [str(entry["groupVersion"]) for entry in group["versions"]]
    return sorted(versions, key=lambda version: version != first)


def _told_preferred(found: Iterable[tuple[Resource, frozenset[str]]]) -> list[Discovered]:
    """What was found, in which each kind's first version is the preferred one."""
    seen: set[tuple[str, str]] = set()
    told = []
    for resource, verbs in found:
        kind = (resource.group, resource.plural)
        told.append(Discovered(resource, verbs, kind not in seen))
        seen.add(kind)
    return told


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
