"""The home page: what runs, what failed and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aiohttp import web

from kubeling.gateway.kinds import PRIMARY, SECTIONS, Section
from kubeling.gateway.pages.view import Views
from kubeling.gateway.states import is_active, is_failed, state_of
from kubeling.kube.diagnosis import Cause, OwnerTree, first_causes
from kubeling.kube.objects import Obj, controller_of, uid
from kubeling.kube.resources import EVENTS

__all__ = ["home"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Tally:
    """How a section's objects are doing."""

    section: Section
    total: int
    states: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that failed, and the first cause if one is known."""

    object: Obj
    cause: Cause | None


async def home(views: Views, request: web.Request) -> web.Response:
    """What runs, what failed and why, and how many there are of everything."""
    objects = await views.objects(*PRIMARY)
    events = await views.objects(EVENTS)
    tree = OwnerTree(objects, events)
    shown = {uid(obj) for obj in objects}
    roots = [obj for obj in objects if _owner_uid(obj) not in shown]
    active = [obj for obj in roots if is_active(obj)][:_SHOWN]
    failures = [Failure(obj, _cause(obj, tree)) for obj in roots if is_failed(obj)][:_SHOWN]
    kinds: dict[tuple[str, str], list[Obj]] = {}
    for obj in objects:
        kinds.setdefault((obj["apiVersion"], obj["kind"]), []).append(obj)
    tallies = [_tally(section, kinds) for section in SECTIONS if section.kinds]
    return views.page(
        request,
        "home.html",
        "/",
        "Home",
        PRIMARY,
        active=active,
        failures=failures,
        tallies=tallies,
    )


def _owner_uid(obj: Obj) -> str:
    owner = controller_of(obj)
    return str(owner["uid"]) if owner else ""


def _cause(obj: Obj, tree: OwnerTree) -> Cause | None:
    causes = first_causes(obj, tree)
    return causes[0] if causes else None


def _tally(section: Section, kinds: dict[tuple[str, str], list[Obj]]) -> Tally:
    found = [obj for kind in section.kinds for obj in kinds.get((kind.api_version, kind.kind), ())]
    states = Counter(state_of(obj) for obj in found)
    return Tally(section, len(found), states.most_common())
