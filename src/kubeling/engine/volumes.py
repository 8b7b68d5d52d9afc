"""A pod's volumes: what each holds (pure) and where it lies on this machine.

emptyDir, configMap, secret, downwardAPI and projected volumes live in the pod's folder; hostPath
and persistent volumes where they point to. A volume that cannot be made yet raises, and the pod
waits with that message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.atomic import VolumeFile, write_files
from kubeling.engine.envvars import decode_config_map, decode_secret, expand
from kubeling.engine.fields import PodFacts, field_value, resource_value
from kubeling.engine.rootfs import VolumeMount
from kubeling.engine.sources import MissingSource, SourceKind, Sources
from kubeling.kube.objects import Obj

__all__ = [
    "Place",
    "Tokens",
    "VolumeError",
    "content_of",
    "make_volume",
    "resolve_mounts",
    "token_requests",
]

Tokens = Mapping[tuple[str, int], str]
"""Service account tokens by audience and lifetime."""

_DEFAULT_MODE: Final = 0o644
_TOKEN_SECONDS: Final = 3600
_CONTENT: Final = ("configMap", "secret", "downwardAPI", "projected")
_IGNORED: Final = frozenset({"DirectoryOrCreate", "FileOrCreate", ""})


class VolumeError(Exception):
    """A volume or mount that can never work as it is written."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume lies."""

    path: Path
    read_only: bool = False


def make_volume(
    volume: Mapping[str, Any], folder: Path, facts: PodFacts, sources: Sources, tokens: Tokens
) -> Place:
    """Makes or refreshes a volume; ``folder`` is its own place in the pod's folder."""
    if any(kind in volume for kind in _CONTENT):
        write_files(folder, content_of(volume, facts, sources, tokens))
        return Place(folder, read_only=True)
    if "hostPath" in volume:
        return Place(_host_path(volume["hostPath"]))
    if "persistentVolumeClaim" in volume:
        return _claimed(volume["persistentVolumeClaim"], sources)
    if "ephemeral" in volume or "emptyDir" in volume or set(volume) == {"name"}:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return Place(folder)
    kind = next((key for key in volume if key != "name"), "")
    raise VolumeError(f'volume "{volume["name"]}": type {kind} is not available on this node')


def content_of(
    volume: Mapping[str, Any], facts: PodFacts, sources: Sources, tokens: Tokens
) -> dict[str, VolumeFile]:
    """The files of a configMap, secret, downwardAPI or projected volume."""
    if projected := volume.get("projected"):
        mode = projected.get("defaultMode") or _DEFAULT_MODE
        files: dict[str, VolumeFile] = {}
        for source in projected.get("sources") or ():
            files.update(_source(source, mode, facts, sources, tokens))
        return files
    kind = next(kind for kind in _CONTENT if kind in volume)
    body = volume[kind] or {}
    return _source({kind: body}, body.get("defaultMode") or _DEFAULT_MODE, facts, sources, tokens)


def token_requests(pod: Obj) -> set[tuple[str, int]]:
    """Audience and lifetime of each service account token the pod's volumes ask for."""
    return {
        _token_key(source["serviceAccountToken"])
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if "serviceAccountToken" in source
    }


def resolve_mounts(
    container: Mapping[str, Any], places: Mapping[str, Place], env: Mapping[str, str]
) -> list[VolumeMount]:
    """A container's volume mounts as paths; ``subPathExpr`` is expanded with ``env``."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        if (place := places.get(mount["name"])) is None:
            raise VolumeError(f'volumeMounts: there is no volume "{mount["name"]}" in this pod')
        below = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        source = _below(place.path, below) if below else place.path
        read_only = place.read_only or bool(mount.get("readOnly"))
        mounts.append(VolumeMount(source, mount["mountPath"], read_only))
    return mounts


def _source(
    source: Mapping[str, Any], mode: int, facts: PodFacts, sources: Sources, tokens: Tokens
) -> dict[str, VolumeFile]:
    if body := source.get("configMap"):
        return _entries("configmap", body.get("name", ""), body, mode, sources)
    if body := source.get("secret"):
        return _entries(
            "secret", body.get("secretName") or body.get("name", ""), body, mode, sources
        )
    if body := source.get("downwardAPI"):
        return {item["path"]: _downward(item, mode, facts) for item in body.get("items") or ()}
    if body := source.get("serviceAccountToken"):
        return {body["path"]: VolumeFile(tokens[_token_key(body)].encode(), 0o600)}
    return {}


def _entries(
    kind: SourceKind, name: str, body: Mapping[str, Any], mode: int, sources: Sources
) -> dict[str, VolumeFile]:
    optional = bool(body.get("optional"))
    if (found := sources.get(kind, name, optional=optional)) is None:
        return {}
    entries = decode_secret(found) if kind == "secret" else decode_config_map(found)
    items: Sequence[Mapping[str, Any]] = body.get("items") or [
        {"key": key, "path": key} for key in entries
    ]
    files = {}
    for item in items:
        if item["key"] in entries:
            files[item["path"]] = VolumeFile(entries[item["key"]], item.get("mode") or mode)
        elif not optional:
            raise MissingSource(f'{kind} "{name}" has no key "{item["key"]}"')
    return files


def _downward(item: Mapping[str, Any], mode: int, facts: PodFacts) -> VolumeFile:
    if reference := item.get("fieldRef"):
        value = field_value(facts, reference["fieldPath"])
    else:
        value = resource_value(facts, item.get("resourceFieldRef") or {}, "")
    return VolumeFile(value.encode(), item.get("mode") or mode)


def _token_key(body: Mapping[str, Any]) -> tuple[str, int]:
    return body.get("audience") or "", int(body.get("expirationSeconds") or _TOKEN_SECONDS)


def _host_path(body: Mapping[str, Any]) -> Path:
    path = Path(body["path"])
    kind = body.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    elif not path.exists():
        if kind in _IGNORED:
            path.mkdir(parents=True)
        else:
            raise MissingSource(f"hostPath {path} does not exist on this machine (type {kind})")
    if (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file()):
        raise VolumeError(f"hostPath type check failed: {path} is not a {kind.lower()}")
    return path


def _claimed(body: Mapping[str, Any], sources: Sources) -> Place:
    claim = sources.get("persistentvolumeclaim", body["claimName"])
    assert claim is not None
    name = (claim.get("spec") or {}).get("volumeName")
    volume = sources.get("persistentvolume", name, optional=True) if name else None
    if volume is None:
        raise MissingSource(f'persistentvolumeclaim "{body["claimName"]}" is not bound yet')
    spec = volume.get("spec") or {}
    path = (spec.get("hostPath") or spec.get("local") or {}).get("path")
    if not path:
        raise VolumeError(
            f'persistentvolume "{name}": only hostPath and local volumes work on this node'
        )
    Path(path).mkdir(parents=True, exist_ok=True)
    return Place(Path(path), bool(body.get("readOnly")))


def _below(volume: Path, sub_path: str) -> Path:
    path = volume / sub_path
    if ".." in Path(sub_path).parts or Path(sub_path).is_absolute():
        raise VolumeError(f'subPath "{sub_path}" must be relative and stay inside the volume')
    if not path.exists():
        path.mkdir(parents=True)
    return path
