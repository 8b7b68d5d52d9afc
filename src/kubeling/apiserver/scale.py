"""The scale subresource: one small object that reads and writes replicas in any kind."""

from __future__ import annotations

from typing import Any

from kubeling.apiserver.decoding import typed
from kubeling.apiserver.metadata import check_identity, separate
from kubeling.apiserver.served import Scale, Served
from kubeling.kube import selectors
from kubeling.kube.errors import FieldError, Invalid
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import Resource

__all__ = ["scale_of", "with_scale"]


def scale_of(served: Served, obj: Obj) -> Obj:
    """An ``autoscaling/v1`` ``Scale`` that shows an object's replicas."""
    paths = served.scale or Scale()
    metadata = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": _read(obj, paths.status_replicas) or 0}
    selector = _read(obj, paths.label_selector) if paths.label_selector else None
    if isinstance(selector, dict):
        selector = str(selectors.from_object(selector))
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": {"replicas": _read(obj, paths.spec_replicas) or 0},
        "status": status,
    }


def with_scale(served: Served, obj: Obj, scale: Any) -> Obj:
    """The object with the replicas (and version) a ``Scale`` asks for; changes ``obj``."""
    metadata = obj["metadata"]
    scale = separate(scale)
    kind = Resource("autoscaling", "v1", "Scale", "scales", served.resource.namespaced)
    check_identity(scale, kind, metadata.get("namespace", ""), metadata["name"])
    scale = typed(deep_copy(scale), "io.k8s.api.autoscaling.v1.Scale")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        error = FieldError(
            "spec.replicas", "Invalid value", "must be greater than or equal to 0", replicas
        )
        raise Invalid.of("autoscaling", "Scale", obj["metadata"]["name"], [error])
    paths = served.scale or Scale()
    _write(obj, paths.spec_replicas, replicas)
    version = scale["metadata"].get("resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    return obj


def _read(obj: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def _write(obj: Obj, path: str, value: int) -> None:
    *parents, last = path.strip(".").split(".")
    for part in parents:
        if not isinstance(obj.get(part), dict):
            obj[part] = {}
        obj = obj[part]
    obj[last] = value
