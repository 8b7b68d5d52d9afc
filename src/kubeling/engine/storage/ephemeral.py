"""Generic ephemeral volumes: a claim of its own for each, made with the pod and gone with it.

(upstream's ``ephemeral-volume-controller``)
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.component import Context
from kubeling.engine.storage.usage import ephemeral_claims, is_finished, made_for
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Key, Obj, deletion_requested, namespace, new_object
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS

__all__ = ["ephemeral_controller"]


def ephemeral_controller(context: Context) -> Controller:
    """Makes the claims. Its keys are claims, so that ordinary pods cost it nothing."""
    reconciler = _Ephemeral(context)
    return Controller(
        "ephemeral-volume-controller",
        PERSISTENT_VOLUME_CLAIMS,
        reconciler.reconcile,
        watches={PODS: _claims_for},
    )


class _Ephemeral:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("ephemeral_volume")
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._pods = context.informers.of(PODS)

    async def reconcile(self, key: Key) -> None:
        wanted = self._wanted(key)
        if wanted is None:
            return
        pod, template = wanted
        claim = self._claims.get(*key)
        if claim is None:
            claim = await self._create(key, pod, template)
        if not made_for(claim, pod):
            message = f"PVC {key} was not created for pod {key.namespace}/{pod['metadata']['name']}"
            await self._recorder.warning(pod, "FailedBinding", message)

    def _wanted(self, key: Key) -> tuple[Obj, Obj] | None:
        for pod in self._pods.list(key.namespace):
            if is_finished(pod) or deletion_requested(pod):
                continue
            for title, template in ephemeral_claims(pod):
                if title == key.name:
                    return pod, template
        return None

    async def _create(self, key: Key, pod: Obj, template: Obj) -> Obj:
        metadata = template.get("metadata") or {}
        claim = new_object(
            PERSISTENT_VOLUME_CLAIMS,
            key.name,
            key.namespace,
            labels=metadata.get("labels"),
            annotations=metadata.get("annotations"),
            owner=pod,
            spec=template.get("spec") or {},
        )
        try:
            return await self._client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        except AlreadyExists:
            return await self._client.get(PERSISTENT_VOLUME_CLAIMS, key.name, key.namespace)


def _claims_for(pod: Obj) -> Iterator[Key]:
    return (Key(namespace(pod), title) for title, _ in ephemeral_claims(pod))
