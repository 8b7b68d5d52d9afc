"""Deployments: a ReplicaSet per template, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.deployment_status import (
    deployment_status,
    is_complete,
    seconds_to_deadline,
)
from kubeling.engine.workloads.digest import template_digest
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podstate import is_finished
from kubeling.engine.workloads.rollout import (
    DESIRED,
    MAXIMUM,
    is_rescaled,
    limits,
    recreate,
    rescale,
    roll,
)
from kubeling.engine.workloads.sightings import Sightings
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import objects, selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deep_copy,
    deletion_requested,
    key_of,
    labels,
    name,
    namespace,
    new_object,
    uid,
)
from kubeling.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS

__all__ = ["controller", "find_new", "replica_set_for", "set_annotations"]

_HASH: Final = "pod-template-hash"
_REVISION: Final = "deployment.kubernetes.io/revision"
_HISTORY: Final = "deployment.kubernetes.io/revision-history"
_LONGEST_HISTORY: Final = 2000
_NOT_COPIED: Final = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", _REVISION, _HISTORY, DESIRED, MAXIMUM}
)


def controller(context: Context) -> Controller:
    """The Deployment controller."""
    reconciler = _Deployments(context)
    return Controller(
        "deployment-controller",
        DEPLOYMENTS,
        reconciler.reconcile,
        owns=(REPLICA_SETS,),
        watches={PODS: reconciler.deployments_of_pod},
    )


def find_new(deployment: Obj, sets: Sequence[Obj]) -> Obj | None:
    """The ReplicaSet of the present template: the oldest, should there be several."""
    wanted = deployment["spec"]["template"]
    return next((rs for rs in sets if _template(rs) == _normal(wanted)), None)


def replica_set_for(deployment: Obj, collisions: int, revision: int, replicas: int) -> Obj:
    """A new ReplicaSet for the Deployment's present template."""
    template = deep_copy(deployment["spec"]["template"])
    digest = template_digest(_normal(template), collisions)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), _HASH: digest}
    selector = deep_copy(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _HASH: digest}
    spec: Obj = {"replicas": replicas, "selector": selector, "template": template}
    if min_ready := deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = min_ready
    return new_object(
        REPLICA_SETS,
        f"{name(deployment)}-{digest}",
        namespace(deployment),
        labels=metadata["labels"],
        annotations=set_annotations(deployment, None, revision) | _sizes(deployment),
        owner=deployment,
        spec=spec,
    )


class _Deployments:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("deployment-controller")
        self._deployments = context.informers.of(DEPLOYMENTS)
        self._sets = context.informers.of(REPLICA_SETS)
        self._pods = context.informers.of(PODS)
        self._sightings = Sightings(self._sets)

    def deployments_of_pod(self, pod: Obj) -> list[Key]:
        """Recreate waits for pods to end, which no ReplicaSet shows."""
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "ReplicaSet":
            return []
        replica_set = self._sets.get(namespace(pod), owner["name"])
        above = controller_of(replica_set) if replica_set else None
        if above is None or (found := self._deployments.get(namespace(pod), above["name"])) is None:
            return []
        return [key_of(found)] if _strategy(found) == "Recreate" else []

    async def reconcile(self, key: Key) -> Result | None:
        found = self._deployments.get(*key)
        if found is None:
            return None
        selector = selectors.from_object(found["spec"]["selector"])
        sets = sorted(
            await claim(self._client, self._sets, found, selector),
            key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), name(rs)),
        )
        new = find_new(found, sets)
        if deletion_requested(found):
            await self._write(found, new, sets, rolling=False)
            return None
        held = bool(found["spec"].get("paused")) or is_rescaled(found, sets)
        created = False
        if held:
            new = await self._mark(found, new, _others(sets, new))
            old = _others(sets, new)
            await self._resize(found, sets, rescale(found, new, old))
        else:
            known = new
            new = await self._advance(found, new, sets)
            created = known is None and new is not None
            sets = [*_others(sets, new), *([new] if new is not None else [])]
        status = await self._write(found, new, sets, rolling=not held, created=created)
        if found["spec"].get("paused") or is_complete(found, status):
            await self._forget(found, new, sets)
        wait = seconds_to_deadline(found, status, self._clock.now())
        return None if wait is None else Result(wait + 1.0)

    async def _write(
        self,
        found: Obj,
        new: Obj | None,
        sets: list[Obj],
        *,
        rolling: bool,
        created: bool = False,
    ) -> Obj:
        now = self._clock.now()
        status = deployment_status(found, new, sets, now, rolling=rolling, created=created)
        await write_status(self._client, DEPLOYMENTS, found, status)
        return status

    async def _advance(self, found: Obj, new: Obj | None, sets: list[Obj]) -> Obj | None:
        """The next step of a rollout."""
        old = _others(sets, new)
        if _strategy(found) == "Recreate" and new is None:
            running = self._count_pods(old)
            if sizes := recreate(found, None, old, old_pods=running):
                await self._resize(found, old, sizes)
                return None
            if running:
                return None
        new = await (self._mark(found, new, old) if new else self._create(found, old))
        if new is None:
            return None
        if _strategy(found) == "Recreate":
            sizes = recreate(found, new, old, old_pods=self._count_pods(old))
        else:
            sizes = roll(found, new, old)
        await self._resize(found, [*old, new], sizes)
        return new

    async def _mark(self, found: Obj, new: Obj | None, old: list[Obj]) -> Obj | None:
        """Gives the present ReplicaSet its revision and what follows its Deployment."""
        if new is None:
            return None
        revision = max(max(map(_revision, old), default=0) + 1, _revision(new))
        wanted = set_annotations(found, new, revision)
        patch: Obj = {}
        if any(objects.annotations(new).get(key) != value for key, value in wanted.items()):
            patch["metadata"] = {"annotations": wanted}
        min_ready = int(found["spec"].get("minReadySeconds") or 0)
        if int(new["spec"].get("minReadySeconds") or 0) != min_ready:
            patch["spec"] = {"minReadySeconds": min_ready or None}
        if patch:
            new = await self._client.patch(REPLICA_SETS, name(new), patch, namespace(new))
        await self._number(found, revision)
        return new

    async def _number(self, found: Obj, revision: int) -> None:
        if objects.annotations(found).get(_REVISION) != str(revision):
            patch = {"metadata": {"annotations": {_REVISION: str(revision)}}}
            await self._client.patch(DEPLOYMENTS, name(found), patch, namespace(found))

    async def _create(self, found: Obj, old: list[Obj]) -> Obj | None:
        revision = max(map(_revision, old), default=0) + 1
        collisions = int((found.get("status") or {}).get("collisionCount") or 0)
        fresh = replica_set_for(found, collisions, revision, self._first_size(found, old))
        title, size = name(fresh), fresh["spec"]["replicas"]
        seen = self._sightings.expect(key_of(fresh))
        try:
            created = await self._client.create(REPLICA_SETS, fresh)
        except AlreadyExists:
            seen.cancel()
            return await self._settle_collision(found, title, collisions)
        if size:
            await self._report(found, "up", title, 0, size)
        await self._sightings.arrived(seen)
        await self._number(found, revision)
        return created

    async def _settle_collision(self, found: Obj, title: str, collisions: int) -> Obj | None:
        """The name is taken: by ours that the cache has not shown, or by another template's."""
        existing = await self._client.find(REPLICA_SETS, title, namespace(found))
        owner = controller_of(existing) if existing else None
        if existing and owner and owner["uid"] == uid(found) and find_new(found, [existing]):
            return existing
        status = {**(found.get("status") or {}), "collisionCount": collisions + 1}
        await write_status(self._client, DEPLOYMENTS, found, status)
        return None

    def _first_size(self, found: Obj, old: list[Obj]) -> int:
        wanted = int(found["spec"].get("replicas", 1))
        present = sum(int(rs["spec"].get("replicas", 1)) for rs in old)
        if _strategy(found) == "Recreate":
            return 0 if present or self._count_pods(old) else wanted
        surge, _ = limits(found)
        return max(0, min(wanted, wanted + surge - present))

    async def _resize(self, found: Obj, sets: list[Obj], sizes: dict[str, int]) -> None:
        marks = _sizes(found)
        for replica_set in sets:
            before = int(replica_set["spec"].get("replicas", 1))
            size = sizes.get(name(replica_set), before)
            marked = {k: objects.annotations(replica_set).get(k) for k in marks}
            if size == before and (marked == marks or not size):
                continue
            patch: Obj = {"metadata": {"annotations": marks}, "spec": {"replicas": size}}
            seen = self._sightings.expect(key_of(replica_set))
            await self._client.patch(REPLICA_SETS, name(replica_set), patch, namespace(found))
            await self._sightings.arrived(seen)
            if size != before:
                direction = "up" if size > before else "down"
                await self._report(found, direction, name(replica_set), before, size)

    async def _report(self, found: Obj, way: str, title: str, before: int, size: int) -> None:
        message = f"Scaled {way} replica set {title} from {before} to {size}"
        await self._recorder.normal(found, "ScalingReplicaSet", message)

    async def _forget(self, found: Obj, new: Obj | None, sets: list[Obj]) -> None:
        """Deletes the revisions beyond the history that should be kept."""
        limit = found["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        old = sorted((rs for rs in _others(sets, new) if not deletion_requested(rs)), key=_revision)
        for replica_set in old[: max(0, len(old) - int(limit))]:
            if _is_idle(replica_set):
                await self._client.delete(
                    REPLICA_SETS, name(replica_set), namespace(found), missing_ok=True
                )

    def _count_pods(self, sets: list[Obj]) -> int:
        return sum(not is_finished(p) for rs in sets for p in self._pods.owned_by(uid(rs)))


def _strategy(deployment: Obj) -> str:
    return str(deployment["spec"].get("strategy", {}).get("type", "RollingUpdate"))


def _revision(replica_set: Obj) -> int:
    return int(objects.annotations(replica_set).get(_REVISION) or 0)


def _others(sets: Sequence[Obj], new: Obj | None) -> list[Obj]:
    return [rs for rs in sets if new is None or uid(rs) != uid(new)]


def _is_idle(replica_set: Obj) -> bool:
    """Whether the set has no pods, and has been seen to have none."""
    status = replica_set.get("status") or {}
    seen = int(status.get("observedGeneration") or 0) >= objects.generation(replica_set)
    return (
        seen
        and not int(replica_set["spec"].get("replicas", 1))
        and not int(status.get("replicas") or 0)
    )


def _sizes(deployment: Obj) -> dict[str, str]:
    replicas = int(deployment["spec"].get("replicas", 1))
    surge, _ = limits(deployment)
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + surge)}


def set_annotations(deployment: Obj, replica_set: Obj | None, revision: int) -> dict[str, str]:
    """The Deployment's annotations, the revision, and those it was before (a rollback)."""
    wanted = {k: v for k, v in objects.annotations(deployment).items() if k not in _NOT_COPIED}
    wanted[_REVISION] = str(revision)
    if replica_set is not None and 0 < (before := _revision(replica_set)) < revision:
        earlier = objects.annotations(replica_set).get(_HISTORY, "")
        wanted[_HISTORY] = f"{earlier},{before}" if earlier else str(before)
        while len(wanted[_HISTORY]) > _LONGEST_HISTORY and "," in wanted[_HISTORY]:
            wanted[_HISTORY] = wanted[_HISTORY].partition(",")[2]
    return wanted


def _template(replica_set: Obj) -> Obj:
    return _normal(replica_set["spec"]["template"])


def _normal(template: Obj) -> Obj:
    """A template without what the controller adds, so that equal ones compare equal."""
    kept = {
        k: v for k, v in labels({"metadata": template.get("metadata") or {}}).items() if k != _HASH
    }
    metadata = {**(template.get("metadata") or {}), "labels": kept}
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": metadata}
