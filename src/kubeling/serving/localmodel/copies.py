"""Which cache holds a service's model, and where its copy is: pure functions.

Upstream's layout (``GetStorageKey``, ``setLocalModelLabel``): on the volume of a node group a model
lies in ``models/`` and the beginning of its address's digest, so that caches of one address share a
copy; services are marked by labels and annotations when they are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, mapping, name, namespace

__all__ = ["ANNOTATIONS", "LABELS", "LocalCopy", "covers", "mark", "status_key", "storage_key"]

_INTERNAL: Final = "internal.serving.kserve.io/"
MODEL: Final = f"{_INTERNAL}localmodel"
MODEL_NAMESPACE: Final = f"{_INTERNAL}localmodel-namespace"
_SOURCE: Final = f"{_INTERNAL}localmodel-sourceuri"
_CLAIM: Final = f"{_INTERNAL}localmodel-pvc-name"
LABELS: Final = (MODEL, MODEL_NAMESPACE)
ANNOTATIONS: Final = (_SOURCE, _CLAIM)
DISABLE: Final = "serving.kserve.io/disable-localmodel"
NODE_GROUP: Final = "serving.kserve.io/nodegroup"


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A model on a claim of the service's namespace."""

    source: str
    claim: str

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> LocalCopy | None:
        """The copy that a service was marked with."""
        source, claim = annotations.get(_SOURCE), annotations.get(_CLAIM)
        return cls(source, claim) if source and claim else None

    def path(self, uri: str) -> str:
        """Where on the claim a model is; nothing if it is not there."""
        if not covers(self.source, uri):
            return ""
        rest = uri.rstrip("/")[len(self.source.rstrip("/")) :]
        return f"models/{storage_key(self.source)}{rest}"


def storage_key(uri: str) -> str:
    """The name of the folder that a model lies in."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def status_key(title: str, where: str) -> str:
    """What a model is called in a LocalModelNode's status."""
    return f"{where}/{title}" if where else title


def covers(cached: str, uri: str) -> bool:
    """Whether a model is the cached one, or in its folder."""
    cached, uri = cached.rstrip("/"), uri.rstrip("/")
    return uri == cached or uri.startswith(f"{cached}/")


def mark(isvc: Obj, caches: Iterable[Obj]) -> None:
    """Notes on a service which cache holds its model; ``caches`` are in order of precedence."""
    metadata = isvc["metadata"]
    labels, notes = dict(objects.labels(isvc)), dict(objects.annotations(isvc))
    for key in LABELS:
        labels.pop(key, None)
    for key in ANNOTATIONS:
        notes.pop(key, None)
    model = mapping(mapping(mapping(isvc.get("spec")).get("predictor")).get("model"))
    uri, wanted = str(model.get("storageUri") or ""), notes.get(NODE_GROUP)
    for cache in caches if uri and DISABLE not in notes else ():
        groups = cache["spec"].get("nodeGroups") or []
        group = wanted or groups[0]
        if group not in groups or not covers(cache["spec"]["sourceModelUri"], uri):
            continue
        labels[MODEL] = name(cache)
        if where := namespace(cache):
            labels[MODEL_NAMESPACE] = where
        notes[_SOURCE] = cache["spec"]["sourceModelUri"]
        notes[_CLAIM] = f"{name(cache)}-{group}"
        break
    for field, values in (("labels", labels), ("annotations", notes)):
        if values:
            metadata[field] = values
        else:
            metadata.pop(field, None)
