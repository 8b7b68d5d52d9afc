"""The objects that bring models to nodes, and let services read them there: pure functions.

Names are upstream's, as its scripts and tests look for the volumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj, condition, deep_copy, name, namespace, new_object
from kubeling.kube.resources import JOBS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubeling.serving.credentials import Access
from kubeling.serving.localmodel.copies import status_key, storage_key
from kubeling.serving.mounts import BUILT_IN, source_mount

__all__ = [
    "JOB_NAMESPACE",
    "MODEL_LABEL",
    "MODEL_NAMESPACE_LABEL",
    "NODE_LABEL",
    "claim",
    "copies_of",
    "download_job",
    "download_names",
    "is_finished",
    "is_node_ready",
    "model_info",
    "model_status",
    "node_status",
    "removal_job",
    "serving_names",
    "volume",
]

JOB_NAMESPACE: Final = "kserve-localmodel-jobs"
MODEL_LABEL: Final = "model"
MODEL_NAMESPACE_LABEL: Final = "modelNamespace"
NODE_LABEL: Final = "node"
_PLACE: Final = "/mnt/models"
_VOLUME: Final = "kserve-pvc-source"
_KEEP_SECONDS: Final = 3600
_LONGEST_TITLE: Final = 40


def model_info(cache: Obj, group: str) -> Obj:
    """The entry of a cache in a LocalModelNode."""
    spec = cache["spec"]
    info: Obj = {
        "sourceModelUri": spec["sourceModelUri"],
        "modelName": name(cache),
        "nodeGroup": group,
    }
    if where := namespace(cache):
        info["namespace"] = where
    for field in ("serviceAccountName", "storage"):
        if spec.get(field):
            info[field] = spec[field]
    return info


def download_names(info: Mapping[str, Any]) -> tuple[str, str]:
    """The volume and the claim that a model is fetched into."""
    title = f"{info['modelName']}-{info['nodeGroup']}"
    if where := info.get("namespace"):
        return f"{title}-{where}-download", f"{title}-{where}-download"
    return f"{title}-download", title


def serving_names(cache: Obj, group: str, where: str) -> tuple[str, str]:
    """The volume and the claim by which services of a namespace read a model."""
    title = f"{name(cache)}-{group}"
    return f"{title}-{where}", title


def volume(title: str, group: Obj, owner: Obj | None) -> Obj:
    """A volume of a group of nodes; a namespaced cache cannot own it."""
    spec = deep_copy(group["spec"]["persistentVolumeSpec"])
    return new_object(PERSISTENT_VOLUMES, title, owner=owner, spec=spec)


def claim(title: str, where: str, volume_name: str, group: Obj, owner: Obj | None) -> Obj:
    """A claim of one volume."""
    spec = {**deep_copy(group["spec"]["persistentVolumeClaimSpec"]), "volumeName": volume_name}
    return new_object(PERSISTENT_VOLUME_CLAIMS, title, where, owner=owner, spec=spec)


def download_job(
    node: Obj, info: Mapping[str, Any], given: Obj | None, access: Access, where: str
) -> Obj:
    """The Job that fetches a model onto a node, by the built-in initializer or one ``given``."""
    container: Obj = deep_copy(given or BUILT_IN)
    uri = info["sourceModelUri"]
    container["args"] = [*(container.get("args") or ()), uri, _PLACE]
    container["env"] = [*(container.get("env") or ()), *access.env]
    mount = {
        "name": _VOLUME,
        "mountPath": _PLACE,
        "subPath": f"models/{storage_key(uri)}",
    }
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), *access.mounts, mount]
    volumes = list(access.volumes)
    if found := source_mount(uri):
        source, shown = found
        volumes.append(source)
        container["volumeMounts"].append(shown)
    return _job("get", node, info, container, volumes, where)


def removal_job(node: Obj, info: Mapping[str, Any], where: str) -> Obj:
    """The Job that deletes a model's files from a node."""
    container: Obj = deep_copy(BUILT_IN)
    container["args"] = ["--remove", f"{_PLACE}/{storage_key(info['sourceModelUri'])}"]
    container["volumeMounts"] = [{"name": _VOLUME, "mountPath": _PLACE, "subPath": "models"}]
    return _job("remove", node, info, container, [], where)


def _job(
    verb: str, node: Obj, info: Mapping[str, Any], container: Obj, volumes: list[Obj], where: str
) -> Obj:
    container["name"] = "storage-initializer"
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    digest = hashlib.sha256(msgspec.json.encode([verb, name(node), info], order="sorted"))
    labels = {MODEL_LABEL: info["modelName"], NODE_LABEL: name(node)}
    if of := info.get("namespace"):
        labels[MODEL_NAMESPACE_LABEL] = of
    _, claim_name = download_names(info)
    made = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": claim_name}}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": name(node)},
        "containers": [container],
        "restartPolicy": "Never",
        "volumes": [*volumes, made],
    }
    return new_object(
        JOBS,
        f"{info['modelName'][:_LONGEST_TITLE]}-{verb}-{digest.hexdigest()[:10]}",
        where,
        labels=labels,
        owner=node,
        spec={
            "backoffLimit": 3,
            "ttlSecondsAfterFinished": _KEEP_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )


def model_status(job: Obj | None) -> str:
    """How far a download is, by its Job."""
    status = (job or {}).get("status") or {}
    if status.get("succeeded"):
        return "ModelDownloaded"
    if job is not None and (failed := condition(job, "Failed")) and failed.status == "True":
        return "ModelDownloadError"
    return "ModelDownloading" if status.get("ready") else "ModelDownloadPending"


def is_finished(job: Obj) -> bool:
    """Whether a Job has ended, well or not."""
    return model_status(job) in ("ModelDownloaded", "ModelDownloadError")


def node_status(model: str) -> str:
    """A cache's word for the state of its model on a node."""
    return model.replace("Model", "Node", 1) if model else "NodeDownloadPending"


def copies_of(nodes: Mapping[str, str]) -> Obj:
    """On how many of the nodes a model is."""
    states = list(nodes.values())
    return {
        "available": states.count("NodeDownloaded"),
        "total": len(states),
        "failed": states.count("NodeDownloadError"),
    }


def is_node_ready(node: Obj) -> bool:
    """Whether a node can be given work."""
    ready = condition(node, "Ready")
    return ready is not None and ready.status == "True"


def info_key(info: Mapping[str, Any]) -> str:
    """What an entry's state is filed under."""
    return status_key(info["modelName"], info.get("namespace") or "")
