"""What is mounted into a component's pods: its models; and which of their containers is which."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Obj, deep_copy
from kubeling.serving.credentials import Access
from kubeling.serving.localmodel.copies import LocalCopy
from kubeling.serving.names import COLLOCATED, MODEL_DIGEST, SOURCE_VOLUME
from kubeling.serving.storage.local import DIGEST_VARIABLE
from kubeling.serving.storage.uris import StorageNotFound, UnknownScheme, parse_uri
from kubeling.serving.storage_containers import StorageContainers

__all__ = [
    "BUILT_IN",
    "INITIALIZER",
    "MAIN_CONTAINER",
    "Showing",
    "add_storage",
    "entry_container",
    "main_container",
    "model_of",
    "source_mount",
]

MAIN_CONTAINER: Final = "kserve-container"

_MODELS: Final = "/mnt/models"
_ADDRESS: Final = "STORAGE_URI"
_VOLUME: Final = "kserve-provision-location"
INITIALIZER: Final = "storage-initializer"
BUILT_IN: Final[Obj] = {
    "image": "kubeling/storage-initializer",
    "command": ["python", "-m", "kubeling.serving.storage"],
}
_STORAGE_VARIABLES: Final = (
    "AWS_",
    "S3_",
    "GOOGLE_",
    "STORAGE_",
    "AZURE_",
    "HF_",
    "MODELSCOPE_",
    "GIT_",
    "HDFS_",
    "KSERVE_OCI_",
)
_STORED: Final = ("s3", "gs", "hdfs", "webhdfs")
_WITH_BUCKET: Final = ("s3", "gs")
_IMAGE: Final = "oci+native://"


_READ_ONLY: Final = "storage.kserve.io/readonly"
_USER: Final = "serving.kserve.io/storage-initializer-uid"


@dataclass(frozen=True, slots=True)
class Showing:
    """How the containers of a service see its models, and as whom they are fetched."""

    read_only: bool = True
    user: int | None = None

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Showing:
        """What a service's annotations say; a user that is no number means nothing, as upstream."""
        user = annotations.get(_USER, "")
        return cls(annotations.get(_READ_ONLY) != "false", int(user) if user.isdecimal() else None)


Fetched = tuple[str, str, int]
"""A model's address, its place in the server's container, and its number in the spec."""


def main_container(pod: Obj) -> Obj:
    """The container that serves: by name, else the first."""
    containers: list[Obj] = pod["containers"]
    return next((c for c in containers if c.get("name") == MAIN_CONTAINER), containers[0])


def entry_container(pod: Obj) -> Obj:
    """The container that requests come to: a transformer beside the model, else what serves."""
    containers: list[Obj] = pod["containers"]
    found = next((c for c in containers if c.get("name") == COLLOCATED), None)
    return main_container(pod) if found is None else found


def _mount(pod: Obj, mount: Obj) -> None:
    """Shows a model to what serves, and to the transformer beside it."""
    main, entry = main_container(pod), entry_container(pod)
    for container in (main,) if entry is main else (main, entry):
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), dict(mount)]


def model_of(component: Obj) -> Obj:
    """Where a component says what it reads: a predictor's model, or ART."""
    found: Obj = component.get("model") or component.get("art") or {}
    return found


def _stored(path: str, stated: Mapping[str, str]) -> str:
    """The address of ``storage.path``, by what is said of the store that it is in."""
    if "://" in path:
        return path
    kind, bucket = stated.get("type") or "s3", stated.get("bucket", "")
    if kind not in _STORED:
        raise StorageNotFound(
            f"spec.predictor.model.storage.parameters.type: {kind} is not supported; one of "
            f"{', '.join(_STORED)}"
        )
    if kind in _WITH_BUCKET and not bucket:
        raise StorageNotFound(
            "spec.predictor.model.storage.parameters.bucket: is missing; name it there or in the "
            f"entry of storage-config, as {kind} keeps models in buckets"
        )
    place = path.lstrip("/")
    return f"{kind}://{bucket}/{place}" if kind in _WITH_BUCKET else f"{kind}://{place}"


def _sources(pod: Obj, component: Obj, stated: Mapping[str, str]) -> list[tuple[str, str]]:
    """The models to provide, with their places in the container."""
    if several := component.get("storageUris"):
        return [(entry["uri"], entry.get("mountPath") or _MODELS) for entry in several]
    model = model_of(component)
    if uri := model.get("storageUri"):
        return [(uri, _MODELS)]
    if path := (model.get("storage") or {}).get("path"):
        return [(_stored(path, {**(model["storage"].get("parameters") or {}), **stated}), _MODELS)]
    for variable in main_container(pod).get("env") or ():
        if variable["name"] == _ADDRESS and variable.get("value"):
            return [(variable["value"], _MODELS)]
    return []


def add_storage(
    pod: Obj,
    component: Obj,
    access: Access,
    containers: StorageContainers,
    copy: LocalCopy | None = None,
    showing: Showing | None = None,
) -> None:
    """Provides the component's models: claims are mounted, everything else is fetched first.

    What is in the local ``copy`` that a LocalModelCache keeps is mounted, too.

    Raises :class:`StorageNotFound` for an address that nothing fetches.
    """
    showing = showing or Showing()
    built_in: list[Fetched] = []
    others: list[tuple[Obj, Fetched]] = []
    for index, (uri, place) in enumerate(_sources(pod, component, access.stated)):
        if copy is not None and (path := copy.path(uri)):
            _mount_claim(pod, copy.claim, path, place, index, read_only=True)
        elif uri.startswith(_IMAGE):
            _mount_image(pod, uri.removeprefix(_IMAGE), place, index)
        elif uri.startswith("pvc://"):
            address = parse_uri(uri)
            read_only = showing.read_only
            _mount_claim(pod, address.root, address.path, place, index, read_only=read_only)
        elif (container := containers.of(uri)) is not None:
            others.append((container, (uri, place, index)))
        else:
            built_in.append((uri, place, index))
    _lead_to_model(main_container(pod))
    if not built_in and not others:
        return
    volumes = pod.setdefault("volumes", [])
    volumes += access.volumes
    env = [*access.env, *_storage_env(main_container(pod))]
    made = [_initializer(pod, entry, [one], access, env, showing) for entry, one in others]
    if built_in:
        known = [*env, *_digest(component)]
        made.insert(0, _initializer(pod, BUILT_IN, built_in, access, known, showing))
    for index, container in enumerate(made):
        container["name"] = INITIALIZER if index == 0 else f"{INITIALIZER}-{index}"
        if showing.user is not None:
            own = container.get("securityContext") or {}
            container["securityContext"] = {**own, "runAsUser": showing.user}
    pod["initContainers"] = [*made, *(pod.get("initContainers") or ())]


def _lead_to_model(main: Obj) -> None:
    """A container that asks for a model by its address finds it where it is."""
    for variable in main.get("env") or ():
        if variable["name"] == _ADDRESS and variable.get("value"):
            variable["value"] = _MODELS


def _initializer(
    pod: Obj,
    given: Obj,
    fetched: Sequence[Fetched],
    access: Access,
    env: list[Obj],
    showing: Showing,
) -> Obj:
    """The container that fetches models, called as upstream's: with addresses and folders."""
    arguments: list[str] = []
    mounts = list(access.mounts)
    volumes = pod["volumes"]
    for uri, place, index in fetched:
        volume = _VOLUME if index == 0 else f"{_VOLUME}-{index}"
        volumes.append({"name": volume, "emptyDir": {}})
        mounts.append({"name": volume, "mountPath": place})
        _mount(pod, {"name": volume, "mountPath": place, "readOnly": showing.read_only})
        arguments += [uri, place]
        _mount_source(uri, index, volumes, mounts)
    container: Obj = deep_copy(given)
    own = container.get("env") or []
    merged = {variable["name"]: variable for variable in (*own, *env)}
    merged |= {variable["name"]: variable for variable in own}
    if merged:
        container["env"] = [*merged.values()]
    container["args"] = [*(container.get("args") or ()), *arguments]
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), *mounts]
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return container


def _digest(component: Obj) -> list[Obj]:
    """By which files on the node's disk the component's pods go, however often they start."""
    digest = (component.get("annotations") or {}).get(MODEL_DIGEST)
    return [{"name": DIGEST_VARIABLE, "value": digest}] if digest else []


def _storage_env(container: Obj) -> list[Obj]:
    """What the model's own environment says about storage holds for fetching it, too."""
    found = [v for v in container.get("env") or () if v["name"].startswith(_STORAGE_VARIABLES)]
    return [variable for variable in found if variable["name"] != _ADDRESS]


def _mount_claim(
    pod: Obj, claim: str, path: str, place: str, index: int, *, read_only: bool
) -> None:
    """A model on a claim is mounted where the server looks, not copied."""
    volume = f"model-claim-{index}"
    pod.setdefault("volumes", []).append(
        {"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}
    )
    mount: Obj = {"name": volume, "mountPath": place, "readOnly": read_only}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    _mount(pod, mount)


def _mount_image(pod: Obj, image: str, place: str, index: int) -> None:
    """The folder ``/models`` of an image, as a volume of the node's."""
    volume = f"model-image-{index}"
    pod.setdefault("volumes", []).append({"name": volume, "image": {"reference": image}})
    _mount(pod, {"name": volume, "mountPath": place, "subPath": "models", "readOnly": True})


def _mount_source(uri: str, index: int, volumes: list[Obj], mounts: list[Obj]) -> None:
    """A model on the node's disk is shown to the initializer at its own path."""
    found = source_mount(uri, index)
    if found and not any(mount["mountPath"] == found[1]["mountPath"] for mount in mounts):
        volumes.append(found[0])
        mounts.append(found[1])


def source_mount(uri: str, index: int = 0) -> tuple[Obj, Obj] | None:
    """The volume of a model that lies on the node's disk, and its mount."""
    try:
        address = parse_uri(uri)
    except UnknownScheme:
        return None
    folder = posixpath.dirname(address.path.rstrip("/"))
    if address.scheme != "file" or folder == "/":
        return None
    volume = f"{SOURCE_VOLUME}-{index}"
    source = {"name": volume, "hostPath": {"path": folder, "type": "Directory"}}
    return source, {"name": volume, "mountPath": folder, "readOnly": True}
