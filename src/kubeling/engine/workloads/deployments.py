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
from kubeling.engine.workloads.rollout import limits, recreate, roll, scale_paused
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

__all__ = ["controller", "find_new", "replica_set_for"]

_HASH: Final = "pod-template-hash"
_REVISION: Final = "deployment.kubernetes.io/revision"
_DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM: Final = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED: Final = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", _REVISION, _DESIRED, _MAXIMUM}
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
        annotations=_set_annotations(deployment, revision),
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
        if found is None or deletion_requested(found):
            return None
        selector = selectors.from_object(found["spec"]["selector"])
        sets = sorted(
            await claim(self._client, self._sets, found, selector),
            key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), name(rs)),
        )
        new = find_new(found, sets)
        if found["spec"].get("paused"):
            await self._resize(found, sets, scale_paused(found, sets))
        else:
            new = await self._advance(found, new, sets)
        if new is not None and new not in sets:
            sets = [*sets, new]
        now = self._clock.now()
        status = deployment_status(found, new, sets, now)
        await write_status(self._client, DEPLOYMENTS, found, status)
        if is_complete(found, status):
            await self._forget(found, new, sets)
        wait = seconds_to_deadline(found, status, now)
        return None if wait is None else Result(wait + 1.0)

    async def _advance(self, found: Obj, new: Obj | None, sets: list[Obj]) -> Obj | None:
        old = [rs for rs in sets if new is None or uid(rs) != uid(new)]
        revision = max((_revision(rs) for rs in old), default=0) + 1
        if new is None:
            new = await self._create(found, old, revision)
            if new is None:
                return None
        elif _revision(new) < revision and old:
            new = await self._annotate(found, new, revision)
        else:
            revision = _revision(new)
        if objects.annotations(found).get(_REVISION) != str(revision):
            patch = {"metadata": {"annotations": {_REVISION: str(revision)}}}
            await self._client.patch(DEPLOYMENTS, name(found), patch, namespace(found))
        if _strategy(found) == "Recreate":
            sizes = recreate(found, new, old, old_pods=self._count_pods(old))
        else:
            sizes = roll(found, new, old)
        await self._resize(found, [*old, new], sizes)
        return new

    async def _create(self, found: Obj, old: list[Obj], revision: int) -> Obj | None:
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

    async def _annotate(self, found: Obj, new: Obj, revision: int) -> Obj:
        patch = {"metadata": {"annotations": _set_annotations(found, revision)}}
        return await self._client.patch(REPLICA_SETS, name(new), patch, namespace(new))

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
        origin = f" from {before}" if before else ""
        message = f"Scaled {way} replica set {title}{origin} to {size}"
        await self._recorder.normal(found, "ScalingReplicaSet", message)

    async def _forget(self, found: Obj, new: Obj | None, sets: list[Obj]) -> None:
        """Deletes the revisions beyond the history that should be kept."""
        limit = found["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        idle = [
            rs
            for rs in sets
            if (new is None or uid(rs) != uid(new))
            and not int(rs["spec"].get("replicas", 1))
            and not int((rs.get("status") or {}).get("replicas") or 0)
            and not deletion_requested(rs)
        ]
        idle.sort(key=_revision)
        for replica_set in idle[: max(0, len(idle) - int(limit))]:
            await self._client.delete(
                REPLICA_SETS, name(replica_set), namespace(found), missing_ok=True
            )

    def _count_pods(self, sets: list[Obj]) -> int:
        return sum(not is_finished(p) for rs in sets for p in self._pods.owned_by(uid(rs)))


def _strategy(deployment: Obj) -> str:
    return str(deployment["spec"].get("strategy", {}).get("type", "RollingUpdate"))


def _revision(replica_set: Obj) -> int:
    return int(objects.annotations(replica_set).get(_REVISION) or 0)


def _sizes(deployment: Obj) -> dict[str, str]:
    replicas = int(deployment["spec"].get("replicas", 1))
    surge, _ = limits(deployment)
    return {_DESIRED: str(replicas), _MAXIMUM: str(replicas + surge)}


def _set_annotations(deployment: Obj, revision: int) -> dict[str, str]:
    copied = {k: v for k, v in objects.annotations(deployment).items() if k not in _NOT_COPIED}
    return {**copied, _REVISION: str(revision), **_sizes(deployment)}


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
