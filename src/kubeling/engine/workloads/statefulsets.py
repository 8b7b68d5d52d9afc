"""StatefulSets: pods with names and volumes of their own."""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from kubeling.component import Context
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import (
    is_active,
    pod_from_template,
    seconds_until_available,
)
from kubeling.engine.workloads.revisions import HASH_LABEL, Revisions, template_of
from kubeling.engine.workloads.stateful_claims import (
    claim_for,
    claims_of,
    is_contested,
    is_stale,
    owners_of,
)
from kubeling.engine.workloads.stateful_plan import (
    ordinal_of,
    plan,
    pods_by_ordinal,
    stateful_status,
)
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import Key, Obj, deletion_requested, labels, name, namespace, uid
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS

__all__ = ["controller", "stateful_pod"]

_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
_POD_INDEX: Final = "apps.kubernetes.io/pod-index"
_REVISION_LABEL: Final = "controller.kubernetes.io/hash"
_RETRY_SECONDS: Final = 1.0
"""When to look again for a claim that is on its way out."""


def controller(context: Context) -> Controller:
    """The StatefulSet controller."""
    return Controller(
        "statefulset-controller", STATEFUL_SETS, _StatefulSets(context).reconcile, owns=(PODS,)
    )


def stateful_pod(owner: Obj, ordinal: int, revision: str, template: Obj) -> Obj:
    """The pod of an ordinal: its name is its host name and names its claims."""
    title = f"{name(owner)}-{ordinal}"
    marks = {HASH_LABEL: revision, _POD_NAME: title, _POD_INDEX: str(ordinal)}
    pod = pod_from_template(template, owner, title, labels=marks)
    spec = pod["spec"]
    spec["hostname"] = title
    if service := owner["spec"].get("serviceName"):
        spec["subdomain"] = service
    templates = owner["spec"].get("volumeClaimTemplates") or ()
    claims = {
        template["metadata"]["name"]: name(claim_for(owner, template, ordinal))
        for template in templates
    }
    others = [v for v in spec.get("volumes") or () if v["name"] not in claims]
    own = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claimed}}
        for volume, claimed in claims.items()
    ]
    if own or others:
        spec["volumes"] = [*own, *others]
    return pod


class _Control(PodControl):
    """Says what it does as upstream's controller of stateful pods."""

    def words(self, owner: Obj, verb: Literal["create", "delete"], pod: str, why: str = "") -> str:
        end = f"failed error: {why}" if why else "successful"
        return f"{verb.capitalize()} Pod {pod} in StatefulSet {name(owner)} {end}"


class _StatefulSets:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("statefulset-controller")
        self._sets = context.informers.of(STATEFUL_SETS)
        self._pods = context.informers.of(PODS)
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._revisions = Revisions(context, _REVISION_LABEL)
        self._control = _Control(context, "statefulset-controller")

    async def reconcile(self, key: Key) -> Result | None:
        owner = self._sets.get(*key)
        if owner is None:
            return None
        now = self._clock.now()
        if deletion_requested(owner):
            await self._write_status(owner, *self._revision_names(owner), now)
            return None
        selector = selectors.from_object(owner["spec"]["selector"])
        await claim(self._client, self._pods, owner, selector, member=_is_member)
        update = await self._revisions.newest(owner)
        current = self._current(owner, name(update))
        pods = self._own(owner)
        todo = plan(owner, pods, current, name(update), now)
        for ordinal, pod in pods.items():
            await self._identify(owner, ordinal, pod)
            await self._settle_claims(owner, ordinal, pod)
        for ordinal in todo.waiting:
            await self._create_claims(owner, ordinal)
        await self._control.delete_all(owner, todo.delete)
        blocked = [
            ordinal
            for ordinal, revision in todo.create.items()
            if not await self._create(owner, ordinal, revision, update)
        ]
        pods = await self._write_status(owner, current, name(update), now)
        used = {labels(pod).get(HASH_LABEL, "") for pod in pods.values()}
        await self._revisions.forget(owner, {*used, current, name(update)})
        min_ready = int(owner["spec"].get("minReadySeconds") or 0)
        waits = [seconds_until_available(pod, min_ready, now) for pod in pods.values()]
        pending = [wait for wait in (*waits, _RETRY_SECONDS if blocked else 0.0) if wait]
        return Result(min(pending)) if pending else None

    async def _write_status(
        self, owner: Obj, current: str, update: str, now: dt.datetime
    ) -> dict[int, Obj]:
        pods = self._own(owner)
        status = stateful_status(owner, pods, current, update, now)
        await write_status(self._client, STATEFUL_SETS, owner, status)
        return pods

    def _own(self, owner: Obj) -> dict[int, Obj]:
        return pods_by_ordinal(owner, self._pods.owned_by(owner["metadata"]["uid"]))

    def _revision_names(self, owner: Obj) -> tuple[str, str]:
        status = owner.get("status") or {}
        return status.get("currentRevision") or "", status.get("updateRevision") or ""

    def _current(self, owner: Obj, newest: str) -> str:
        title, _ = self._revision_names(owner)
        return title if self._revisions.named(owner, title) is not None else newest

    async def _create(self, owner: Obj, ordinal: int, revision: str, update: Obj) -> bool:
        """Makes a pod and its claims; tells whether an old claim was not in its way."""
        title = f"{name(owner)}-{ordinal}"
        for wanted in claims_of(owner, ordinal):
            present = self._claims.get(namespace(owner), name(wanted))
            if present is None:
                continue
            if is_stale(present, owner, title):
                return False
            if deletion_requested(present):
                why = f"pvc {name(wanted)} is being deleted"
                message = self._control.words(owner, "create", title, why)
                await self._recorder.warning(owner, "FailedCreate", message)
                return False
        await self._create_claims(owner, ordinal)
        kept = self._revisions.named(owner, revision) or update
        pod = stateful_pod(owner, ordinal, name(kept), template_of(kept))
        await self._control.create(owner, pod)
        return True

    async def _identify(self, owner: Obj, ordinal: int, pod: Obj) -> None:
        """An adopted pod gets the labels of its place."""
        if labels(pod).get(_POD_NAME) == name(pod) or not is_active(pod):
            return
        marks = {_POD_NAME: name(pod), _POD_INDEX: str(ordinal)}
        patch = {"metadata": {"labels": marks, "uid": uid(pod)}}
        await self._client.patch(PODS, name(pod), patch, namespace(pod))
        message = f"Update Pod {name(pod)} in StatefulSet {name(owner)} successful"
        await self._recorder.normal(owner, "SuccessfulUpdate", message)

    async def _settle_claims(self, owner: Obj, ordinal: int, pod: Obj) -> None:
        """Makes the pod's claims go when the set says that they should."""
        for wanted in claims_of(owner, ordinal):
            present = self._claims.get(namespace(owner), name(wanted))
            if present is None or deletion_requested(present):
                continue
            references = owners_of(present, owner, pod, ordinal)
            if references is None:
                continue
            if is_contested(present, owner, pod):
                message = (
                    f"PersistentVolumeClaim {name(wanted)} has a conflicting OwnerReference that "
                    "acts as a managing controller, the retention policy is ignored for this claim"
                )
                await self._recorder.warning(owner, "ConflictingController", message)
            version = present["metadata"]["resourceVersion"]
            patch = {"metadata": {"ownerReferences": references, "resourceVersion": version}}
            await self._client.patch(
                PERSISTENT_VOLUME_CLAIMS, name(wanted), patch, namespace(owner)
            )

    async def _create_claims(self, owner: Obj, ordinal: int) -> None:
        pod = f"{name(owner)}-{ordinal}"
        for wanted in claims_of(owner, ordinal):
            title = name(wanted)
            if self._claims.get(namespace(owner), title) is not None:
                continue
            try:
                await self._client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
            except AlreadyExists:
                continue
            except ApiError as error:
                message = (
                    f"Create Claim {title} for Pod {pod} in StatefulSet {name(owner)} failed "
                    f"error: {error}"
                )
                await self._recorder.warning(owner, "FailedCreate", message)
                raise
            message = f"Create Claim {title} Pod {pod} in StatefulSet {name(owner)} success"
            await self._recorder.normal(owner, "SuccessfulCreate", message)


def _is_member(owner: Obj, pod: Obj) -> bool:
    return ordinal_of(name(owner), name(pod)) is not None
