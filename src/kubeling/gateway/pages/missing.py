"""Where to go from an address that leads nowhere: to names like it, and to their list."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from kubeling.gateway.kinds import BY_KIND, SECTIONS, Section
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import name, namespace
from kubeling.kube.resources import Resource

__all__ = ["Way", "section_at", "ways_on"]

_MOST: Final = 3
_ALIKE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Way:
    """A link to something like what was asked for."""

    title: str
    address: str


def section_at(path: str) -> Section | None:
    """The part of the menu that an address belongs to."""
    resource = _resource_at(path)
    for section in SECTIONS[1:]:
        if path == section.path or path.startswith(f"{section.path}/"):
            return section
        if resource is not None and resource in (*section.kinds, *section.others):
            return section
    return None


async def ways_on(views: Views, request: web.Request) -> list[Way]:
    """Objects of the kind that are called much the same, or so in another namespace."""
    resource = _resource_at(request.path)
    wanted = request.match_info.get("name", "")
    if resource is None or not wanted:
        return []
    found = await views.objects(resource)
    close = difflib.get_close_matches(wanted, {name(o) for o in found}, _MOST, _ALIKE)
    # The same name elsewhere comes first, then what is spelled most like it.
    alike = sorted((o for o in found if name(o) in close), key=lambda o: close.index(name(o)))
    return [Way(f"{resource.kind} {_said(namespace(o), name(o))}", views.link(o)) for o in alike][
        :_MOST
    ]


def _resource_at(path: str) -> Resource | None:
    parts = path.split("/")
    if len(parts) < 5 or parts[1] != "objects":
        return None
    group, version, kind = parts[2:5]
    return BY_KIND.get((version if group == "core" else f"{group}/{version}", kind))


def _said(where: str, name: str) -> str:
    return f"{name} in {where}" if where else name
