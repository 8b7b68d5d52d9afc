"""StatefulSets: pods with names and volumes of their own."""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import pod_from_template, seconds_until_available
from kubeling.engine.workloads.revisions import HASH_LABEL, Revisions, template_of
from kubeling.engine.workloads.stateful_plan import plan, pods_by_ordinal, stateful_status
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    labels,
    name,
    namespace,
    owner_reference,
)
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS

__all__ = ["claim_for", "controller", "stateful_pod"]

_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
_POD_INDEX: Final = "apps.kubernetes.io/pod-index"


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
    claims = {
        claimed["metadata"]["name"]: f"{claimed['metadata']['name']}-{title}"
        for claimed in owner["spec"].get("volumeClaimTemplates") or ()
    }
    others = [v for v in spec.get("volumes") or () if v["name"] not in claims]
    own = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claimed}}
        for volume, claimed in claims.items()
    ]
    if own or others:
        spec["volumes"] = [*own, *others]
    return pod


def claim_for(owner: Obj, template: Obj, ordinal: int) -> Obj:
    """The volume claim of an ordinal; it outlives the set unless that asks otherwise."""
    metadata: Obj = {
        "name": f"{template['metadata']['name']}-{name(owner)}-{ordinal}",
        "namespace": namespace(owner),
        "labels": {
            **(template["metadata"].get("labels") or {}),
            **(owner["spec"]["selector"].get("matchLabels") or {}),
        },
    }
    if kept := template["metadata"].get("annotations"):
        metadata["annotations"] = dict(kept)
    retention = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if retention.get("whenDeleted") == "Delete":
        metadata["ownerReferences"] = [owner_reference(owner, controller=False)]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": deep_copy(template["spec"]),
    }


class _StatefulSets:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("statefulset-controller")
        self._sets = context.informers.of(STATEFUL_SETS)
        self._pods = context.informers.of(PODS)
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._revisions = Revisions(context)
        self._control = PodControl(context, "statefulset-controller")

    async def reconcile(self, key: Key) -> Result | None:
        owner = self._sets.get(*key)
        if owner is None or deletion_requested(owner):
            return None
        selector = selectors.from_object(owner["spec"]["selector"])
        await claim(self._client, self._pods, owner, selector)
        update = await self._revisions.newest(owner)
        current = self._current(owner, name(update))
        now = self._clock.now()
        pods = self._own(owner)
        todo = plan(owner, pods, current, name(update), now)
        await self._control.delete_all(owner, todo.delete)
        for ordinal, revision in todo.create.items():
            await self._create(owner, ordinal, revision, update)
        pods = self._own(owner)
        status = stateful_status(owner, pods, current, name(update), now)
        await write_status(self._client, STATEFUL_SETS, owner, status)
        used = {labels(pod).get(HASH_LABEL, "") for pod in pods.values()}
        used |= {status["currentRevision"], status["updateRevision"]}
        await self._revisions.forget(owner, used)
        min_ready = int(owner["spec"].get("minReadySeconds") or 0)
        waits = [seconds_until_available(pod, min_ready, now) for pod in pods.values()]
        pending = [wait for wait in waits if wait]
        return Result(min(pending)) if pending else None

    def _own(self, owner: Obj) -> dict[int, Obj]:
        return pods_by_ordinal(owner, self._pods.owned_by(owner["metadata"]["uid"]))

    def _current(self, owner: Obj, newest: str) -> str:
        title = str((owner.get("status") or {}).get("currentRevision") or "")
        return title if self._revisions.named(owner, title) is not None else newest

    async def _create(self, owner: Obj, ordinal: int, revision: str, update: Obj) -> None:
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            await self._create_claim(owner, claim_for(owner, template, ordinal))
        kept = self._revisions.named(owner, revision) or update
        pod = stateful_pod(owner, ordinal, name(kept), template_of(kept))
        try:
            await self._control.create(owner, pod)
        except AlreadyExists:
            present = await self._client.find(PODS, f"{name(owner)}-{ordinal}", namespace(owner))
            if present is not None and owner["metadata"]["uid"] not in _owner_uids(present):
                message = f"Pod {name(owner)}-{ordinal} exists and is not of this set; delete it"
                await self._recorder.warning(owner, "FailedCreate", message)
                raise

    async def _create_claim(self, owner: Obj, wanted: Obj) -> None:
        title = name(wanted)
        if self._claims.get(namespace(owner), title) is not None:
            return
        try:
            await self._client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
        except AlreadyExists:
            return
        message = f"create Claim {title} for Pod in StatefulSet {name(owner)} success"
        await self._recorder.normal(owner, "SuccessfulCreate", message)


def _owner_uids(obj: Obj) -> set[str]:
    return {r["uid"] for r in obj["metadata"].get("ownerReferences") or ()}
