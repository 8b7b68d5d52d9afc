"""Keeps each InferenceService of the old group and the one it stands for in step."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    generation,
    is_owned_by,
    name,
    namespace,
    set_condition,
)
from kubeling.serving.admission import default_service
from kubeling.serving.legacy import convert, endpoint_specs
from kubeling.serving.resources import INFERENCE_SERVICES, LEGACY_INFERENCE_SERVICES

__all__ = ["LegacyController"]


_DEFAULT: Final = "serving.kubeling.io/v1alpha2-default"
"""On the mirror: the default that was rolled out before its canary."""


class LegacyController:
    """Mirrors the spec into the current group, and the status back."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "kubeflow-inferenceservice",
            LEGACY_INFERENCE_SERVICES,
            self.reconcile,
            owns=(INFERENCE_SERVICES,),
        )

    async def reconcile(self, key: Key) -> None:
        """Brings one mirror up to date."""
        legacy = self._informers.of(LEGACY_INFERENCE_SERVICES).get(*key)
        if legacy is None or deletion_requested(legacy):
            return
        mirror = self._informers.of(INFERENCE_SERVICES).get(*key)
        wanted = _wanted(legacy, mirror)
        if mirror is None:
            await self._create(wanted)
        elif not is_owned_by(mirror, legacy):
            await self._write_status(legacy, self._taken(legacy))
        else:
            await self._update(mirror, wanted)
            await self._write_status(legacy, _mirrored(legacy, mirror))

    async def _create(self, wanted: Obj) -> None:
        try:
            await self._client.create(INFERENCE_SERVICES, wanted)
        except AlreadyExists:
            # The cache is behind; the event that it catches up with comes back here.
            return

    async def _update(self, mirror: Obj, wanted: Obj) -> None:
        same = (
            mirror["spec"] == wanted["spec"]
            and objects.labels(mirror) == objects.labels(wanted)
            and objects.annotations(mirror) == objects.annotations(wanted)
        )
        if same:
            return
        metadata = {
            **mirror["metadata"],
            "labels": objects.labels(wanted),
            "annotations": objects.annotations(wanted),
        }
        await self._client.replace(
            INFERENCE_SERVICES, {**mirror, "metadata": metadata, "spec": wanted["spec"]}
        )

    async def _write_status(self, legacy: Obj, status: Obj) -> None:
        if status == (legacy.get("status") or {}):
            return
        try:
            await self._client.replace_status(
                LEGACY_INFERENCE_SERVICES, {**legacy, "status": status}
            )
        except NotFound:
            return

    def _taken(self, legacy: Obj) -> Obj:
        status: Obj = deep_copy(legacy.get("status") or {})
        status["observedGeneration"] = generation(legacy)
        message = (
            f"{INFERENCE_SERVICES} {namespace(legacy)}/{name(legacy)} exists already; delete one "
            "of the two or give it another name"
        )
        now = self._clock.now()
        set_condition(status, "Ready", False, reason="NameTaken", message=message, now=now)
        return status


def _wanted(legacy: Obj, mirror: Obj | None) -> Obj:
    """What is to be served: of a v1alpha2 service with a canary first the default, then both.

    The mirror remembers by which default its canary came, so that a new default begins anew.
    """
    wanted = _defaulted(convert(legacy))
    if "canary" not in endpoint_specs(legacy["spec"]):
        return wanted
    digest = hashlib.sha256(msgspec.json.encode(wanted["spec"], order="deterministic"))
    mark = {_DEFAULT: digest.hexdigest()[:16]}
    canary = _defaulted(convert(legacy, canary=True))
    canary["metadata"]["annotations"] = {**objects.annotations(canary), **mark}
    if mirror is not None and (
        objects.annotations(mirror).get(_DEFAULT) == mark[_DEFAULT] or _is_out(mirror, wanted)
    ):
        return canary
    return wanted


def _defaulted(obj: Obj) -> Obj:
    default_service(obj, AdmissionRequest(INFERENCE_SERVICES, "CREATE"))
    return obj


def _is_out(mirror: Obj, wanted: Obj) -> bool:
    """Whether a spec has been rolled out: it is the newest, is ready, and gets all requests."""
    status = mirror.get("status") or {}
    predictor = (status.get("components") or {}).get("predictor") or {}
    newest = predictor.get("latestCreatedRevision")
    return (
        bool(mirror["spec"] == wanted["spec"])
        and status.get("observedGeneration") == generation(mirror)
        and bool(newest)
        and newest == predictor.get("latestReadyRevision")
        and newest == predictor.get("latestRolledoutRevision")
    )


def _mirrored(legacy: Obj, mirror: Obj) -> Obj:
    status: Obj = deep_copy(mirror.get("status") or {})
    if status.get("observedGeneration") == generation(mirror):
        status["observedGeneration"] = generation(legacy)
    else:
        status["observedGeneration"] = (legacy.get("status") or {}).get("observedGeneration", 0)
    return status
