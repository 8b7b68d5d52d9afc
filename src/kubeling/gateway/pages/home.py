"""The home page: what runs, what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

from aiohttp import web

from kubeling.gateway.kinds import JOB_SETS, PRIMARY, SECTIONS, Section
from kubeling.gateway.pages.view import Views
from kubeling.gateway.states import is_active, is_failed, state_of
from kubeling.kube.diagnosis import Cause, OwnerTree, first_causes
from kubeling.kube.objects import Obj, controller_of, uid
from kubeling.kube.resources import DEPLOYMENTS, EVENTS, REPLICA_SETS, STATEFUL_SETS

__all__ = ["home"]

_SHOWN = 8
_BETWEEN = (REPLICA_SETS, DEPLOYMENTS, STATEFUL_SETS, JOB_SETS)
"""What stands between what people made and its pods."""


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
    between = await views.objects(*_BETWEEN)
    events = await views.objects(EVENTS)
    tree = OwnerTree([*objects, *between], events)
    shown = {uid(obj) for obj in objects}
    owner_of = {uid(obj): _owner_uid(obj) for obj in (*objects, *between)}
    roots = [obj for obj in objects if not _belongs(obj, shown, owner_of)]
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


def _belongs(obj: Obj, shown: Container[str], owner_of: Mapping[str, str]) -> bool:
    """Whether another object on the page stands for this one."""
    owner = owner_of[uid(obj)]
    while owner and owner not in shown:
        owner = owner_of.get(owner, "")
    return bool(owner)


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
