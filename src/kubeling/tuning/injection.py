"""Sidecars for pods whose templates a trial's object does not hold.

A TrainJob's pods are its runtime's, a Workflow's are made from templates of its own kind. Such an
object can give its pods labels and annotations; an annotation says what they need, and at their
admission they get it, as from upstream's webhook. Pure.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

import msgspec

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, labels
from kubeling.kube.objects import annotations as annotations_of
from kubeling.tuning.sidecars import Sidecar

__all__ = ["ANNOTATION", "attach", "inject", "primary_container", "request_for"]

ANNOTATION: Final = "katib.kubeling.io/collector"


class Request(msgspec.Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """What the annotation says: a container for the pods with such labels."""

    primary: str
    container: Obj
    labels: dict[str, str] = {}
    directory: str = ""
    ends_itself: bool = False


def request_for(sidecar: Sidecar, primary: str, wanted: dict[str, str]) -> str:
    """The annotation that asks for a sidecar on the pods with the wanted labels."""
    directory = str(sidecar.directory) if sidecar.directory is not None else ""
    request = Request(primary, sidecar.container, wanted, directory, sidecar.ends_itself)
    return msgspec.json.encode(request).decode()


def inject(pod: Obj, request: AdmissionRequest) -> None:
    """Gives a new pod the sidecar that its annotation asks for."""
    text = annotations_of(pod).get(ANNOTATION)
    if not text or request.operation != "CREATE":
        return
    try:
        asked = msgspec.json.decode(text, type=Request)
    except msgspec.DecodeError:
        return
    spec = pod.get("spec") or {}
    there = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    if not asked.labels.items() <= labels(pod).items():
        return
    if any(container.get("name") == asked.container.get("name") for container in there):
        return
    directory = PurePosixPath(asked.directory) if asked.directory else None
    attach(spec, asked.primary, Sidecar(asked.container, directory, asked.ends_itself))


def attach(spec: Obj, primary: str, sidecar: Sidecar) -> None:
    """Puts a sidecar beside the primary container of a pod's spec, if that is there."""
    container = primary_container(spec.get("containers") or [], primary)
    if container is None:
        return
    mounts = sidecar.mounts()
    shared = [
        m
        for m in container.get("volumeMounts") or []
        if sidecar.directory is not None and m.get("mountPath") == str(sidecar.directory)
    ]
    if mounts and not shared:
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), *mounts]
        spec["volumes"] = [*(spec.get("volumes") or []), *sidecar.volumes()]
    # Where the user keeps the file on a volume of their own, the sidecar reads it from there.
    added = sidecar.with_mounts(shared or mounts)
    if sidecar.ends_itself:
        spec["containers"] = [*spec["containers"], added]
        spec["shareProcessNamespace"] = True
    else:
        spec["initContainers"] = [*(spec.get("initContainers") or []), added]


def primary_container(containers: list[Obj], wanted: str) -> Obj | None:
    """The primary container; a lone one without a name is meant, whatever it is called later."""
    for container in containers:
        if container.get("name") == wanted:
            return container
    unnamed = [container for container in containers if not container.get("name")]
    return unnamed[0] if unnamed else None
