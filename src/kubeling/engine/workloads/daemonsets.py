"""DaemonSets: one pod on every node the template may run on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.daemon_plan import (
    DaemonPlan,
    Place,
    daemon_pod,
    daemon_status,
    node_of,
    places_of,
    tend,
    told,
    update,
)
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import phase, seconds_until_available
from kubeling.engine.workloads.revisions import HASH_LABEL, Revisions
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, labels, name, uid
from kubeling.kube.resources import DAEMON_SETS, NODES, PODS

__all__ = ["controller"]

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 900.0


def controller(context: Context) -> Controller:
    """The DaemonSet controller."""
    reconciler = _DaemonSets(context)
    return Controller(
        "daemonset-controller",
        DAEMON_SETS,
        reconciler.reconcile,
        owns=(PODS,),
        watches={NODES: reconciler.every_set},
    )


@dataclass(slots=True)
class _Delay:
    """How long the next failed pod of a set stays on a node, since when."""

    seconds: float
    since: dt.datetime


class _DaemonSets:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("daemonset-controller")
        self._sets = context.informers.of(DAEMON_SETS)
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)
        self._revisions = Revisions(context)
        self._control = PodControl(context, "daemonset-controller")
        self._delays: dict[tuple[str, str], _Delay] = {}

    def every_set(self, _: Obj) -> list[Key]:
        """A node came, went or was relabelled."""
        return [key_of(found) for found in self._sets.list()]

    async def reconcile(self, key: Key) -> Result | None:
        owner = self._sets.get(*key)
        if owner is None or deletion_requested(owner):
            return None
        selector = selectors.from_object(owner["spec"]["selector"])
        await claim(self._client, self._pods, owner, selector)
        newest = await self._revisions.newest(owner)
        revision, now = labels(newest)[HASH_LABEL], self._clock.now()
        todo = tend(owner, self._places(owner), revision, now)
        wait = await self._end(owner, todo)
        await self._carry_out(owner, todo, revision)
        todo = update(owner, self._places(owner), revision, now)
        await self._carry_out(owner, todo, revision)
        status = daemon_status(owner, self._places(owner), revision, now)
        if "collisionCount" in (owner.get("status") or {}):
            status["collisionCount"] = owner["status"]["collisionCount"]
        await write_status(self._client, DAEMON_SETS, owner, status)
        pods = self._pods.owned_by(uid(owner))
        used = {labels(pod).get(HASH_LABEL, "") for pod in pods}
        kept = [r for r in self._revisions.of(owner) if labels(r).get(HASH_LABEL) in used]
        await self._revisions.forget(owner, [name(newest), *map(name, kept)])
        min_ready = int(owner["spec"].get("minReadySeconds") or 0)
        waits = [wait, *(seconds_until_available(pod, min_ready, now) for pod in pods)]
        pending = [each for each in waits if each]
        return Result(min(pending)) if pending else None

    def _places(self, owner: Obj) -> list[Place]:
        return places_of(owner, self._nodes.list(), self._pods.owned_by(uid(owner)))

    async def _carry_out(self, owner: Obj, todo: DaemonPlan, revision: str) -> None:
        await self._control.delete_all(owner, todo.delete)
        fresh = [daemon_pod(owner, node, revision) for node in todo.create]
        await self._control.create_all(owner, fresh)

    async def _end(self, owner: Obj, todo: DaemonPlan) -> float:
        """Removes pods that have ended, failed ones ever more slowly; when to look again."""
        wait = 0.0
        for pod in todo.ended:
            left = self._delay(owner, pod) if phase(pod) == "Failed" else 0.0
            if left:
                wait = min(wait, left) if wait else left
                continue
            kind, reason, message = told(pod)
            record = self._recorder.warning if kind == "Warning" else self._recorder.normal
            await record(owner, reason, message)
            todo.delete.append(pod)
        return wait

    def _delay(self, owner: Obj, pod: Obj) -> float:
        """How long a failed pod still stays; if it goes, the next one stays twice as long."""
        key, now = (uid(owner), node_of(pod)), self._clock.now()
        known = self._delays.get(key)
        if known is None or (now - known.since).total_seconds() > 2 * _LONGEST_DELAY:
            self._delays[key] = _Delay(_FIRST_DELAY, now)
            return 0.0
        left = known.seconds - (now - known.since).total_seconds()
        if left > 0:
            return left
        self._delays[key] = _Delay(min(2 * known.seconds, _LONGEST_DELAY), now)
        return 0.0
