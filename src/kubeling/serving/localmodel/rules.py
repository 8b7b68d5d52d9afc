"""What is refused in caches of models (``localmodelcache_validator.go`` and its neighbour)."""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deletion_requested, labels, mapping, name, namespace
from kubeling.serving.localmodel.copies import MODEL, MODEL_NAMESPACE
from kubeling.serving.localmodel.resources import LOCAL_MODEL_CACHES, LOCAL_MODEL_NODE_GROUPS
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["keep_cache", "validate_cache", "validate_namespace_cache"]


def validate_cache(obj: Obj, old: Obj | None, request: AdmissionRequest) -> Iterator[FieldError]:
    """One cache for each address: which of two would be used is nobody's choice."""
    yield from _validate_kept(obj, old)
    uri = mapping(obj.get("spec")).get("sourceModelUri")
    if uri is None or request.list is None:
        return
    for other in request.list(LOCAL_MODEL_CACHES, ""):
        if name(other) != name(obj) and mapping(other.get("spec")).get("sourceModelUri") == uri:
            message = f"LocalModelCache {name(other)} has the same StorageURI {uri}; use that one"
            yield FieldError("spec.sourceModelUri", "Duplicate value", message, uri)


def validate_namespace_cache(
    obj: Obj, old: Obj | None, request: AdmissionRequest
) -> Iterator[FieldError]:
    """The groups of nodes have to be there, but a cache may outlive them to its end."""
    yield from _validate_kept(obj, old)
    if old is not None and deletion_requested(old):
        return
    groups = mapping(obj.get("spec")).get("nodeGroups")
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        if request.find is not None and request.find(LOCAL_MODEL_NODE_GROUPS, group, "") is None:
            message = f"NodeGroup {group} not found; create the LocalModelNodeGroup first"
            yield FieldError(f"spec.nodeGroups[{index}]", "Not found", message, group)


def _validate_kept(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    now, before = (mapping(mapping(one).get("spec")).get("sourceModelUri") for one in (obj, old))
    if old is not None and now != before:
        message = "StorageUri is immutable; delete the cache and create it anew"
        yield FieldError("spec.sourceModelUri", "Invalid value", message, now)


def keep_cache(obj: Obj, request: AdmissionRequest) -> str:
    """A cache stays while a service uses it."""
    where = namespace(obj)
    for isvc in request.list(INFERENCE_SERVICES, where) if request.list is not None else ():
        marks = labels(isvc)
        if marks.get(MODEL) == name(obj) and marks.get(MODEL_NAMESPACE, "") == where:
            kind = "LocalModelNamespaceCache" if where else "LocalModelCache"
            title = f"{where}/{name(obj)}" if where else name(obj)
            user = f"{namespace(isvc)}/{name(isvc)}" if where else name(isvc)
            return f"{kind} {title} is being used by InferenceService {user}"
    return ""
