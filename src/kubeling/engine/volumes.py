"""A pod's volumes: what each holds (pure) and where it lies on this machine.

emptyDir, configMap, secret, downwardAPI and projected volumes live in the pod's folder; hostPath
and persistent volumes where they point to. A volume that cannot be made yet raises, and the pod
waits with that message; one of a kind that this node does not have does so for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kubeling.engine.atomic import VolumeFile, write_files
from kubeling.engine.envvars import decode_config_map, decode_secret
from kubeling.engine.fields import PodFacts, field_value, resource_value
from kubeling.engine.hostpaths import host_path
from kubeling.engine.memoryvolumes import mount_in_memory
from kubeling.engine.ownership import Owner, give_to_group, owner_of_volumes, shared_mode
from kubeling.engine.sources import MissingSource, SourceKind, Sources
from kubeling.engine.storage.usage import made_for
from kubeling.kube import objects
from kubeling.kube.objects import Obj

__all__ = [
    "Place",
    "Tokens",
    "VolumeError",
    "content_of",
    "has_content",
    "make_volume",
    "token_requests",
]

Tokens = Mapping[tuple[str, int], str]
"""Service account tokens by audience and lifetime."""

_KEYS: Final = {"configmap": "config", "secret": "secret"}
_DEFAULT_MODE: Final = 0o644
_TOKEN_SECONDS: Final = 3600
_CONTENT: Final = ("configMap", "secret", "downwardAPI", "projected")
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


class VolumeError(Exception):
    """A volume or mount that can never work as it is written."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume lies."""

    path: Path
    read_only: bool = False


def make_volume(
    volume: Mapping[str, Any],
    folder: Path,
    facts: PodFacts,
    sources: Sources,
    tokens: Tokens,
    *,
    memory: bool = False,
) -> Place:
    """Makes or refreshes a volume; ``folder`` is its own place in the pod's folder.

    ``memory`` says that volumes can be kept in memory here.
    """
    owner = owner_of_volumes(facts.pod)
    if has_content(volume):
        files = content_of(volume, facts, sources, tokens)
        write_files(folder, files, lambda made: give_to_group(made, owner, writable=False))
        return Place(folder, read_only=True)
    if "hostPath" in volume:
        return Place(host_path(volume["hostPath"]))
    if "persistentVolumeClaim" in volume:
        return _claimed(volume["persistentVolumeClaim"], sources, owner)
    if "ephemeral" in volume:
        return _made_for(volume["name"], facts.pod, sources, owner)
    if "emptyDir" in volume or set(volume) == {"name"}:
        _make_empty(volume.get("emptyDir") or {}, folder, owner, memory=memory)
        return Place(folder)
    kind = next((key for key in volume if key != "name"), "")
    raise VolumeError(f'volume "{volume["name"]}": type {kind} is not available on this node')


def _make_empty(body: Mapping[str, Any], folder: Path, owner: Owner, *, memory: bool) -> None:
    fresh = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    if memory and body.get("medium") == "Memory":
        fresh = mount_in_memory(folder, body) or fresh
    if fresh:
        folder.chmod(0o777)
        give_to_group(folder, owner)


def has_content(volume: Mapping[str, Any]) -> bool:
    """Whether a volume is made of other objects."""
    return any(kind in volume for kind in _CONTENT)


def content_of(
    volume: Mapping[str, Any], facts: PodFacts, sources: Sources, tokens: Tokens
) -> dict[str, VolumeFile]:
    """The files of a configMap, secret, downwardAPI or projected volume."""
    if projected := volume.get("projected"):
        mode = projected.get("defaultMode", _DEFAULT_MODE)
        files: dict[str, VolumeFile] = {}
        for source in projected.get("sources") or ():
            files.update(_source(source, mode, facts, sources, tokens))
        return _for_the_group(files, facts)
    kind = next(kind for kind in _CONTENT if kind in volume)
    body = volume[kind] or {}
    mode = body.get("defaultMode", _DEFAULT_MODE)
    return _for_the_group(_source({kind: body}, mode, facts, sources, tokens), facts)


def _for_the_group(files: dict[str, VolumeFile], facts: PodFacts) -> dict[str, VolumeFile]:
    if owner_of_volumes(facts.pod).group is None:
        return files
    return {
        path: replace(file, mode=shared_mode(file.mode, folder=False, writable=False))
        for path, file in files.items()
    }


def token_requests(pod: Obj) -> set[tuple[str, int]]:
    """Audience and lifetime of each service account token the pod's volumes ask for."""
    return {
        _token_key(source["serviceAccountToken"])
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if "serviceAccountToken" in source
    }


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
        return {body["path"]: _token(tokens[_token_key(body)], mode, facts.pod)}
    kind = next(iter(source), "")
    raise VolumeError(f"a projected volume's source {kind} is not available on this node")


def _token(token: str, mode: int, pod: Obj) -> VolumeFile:
    """Whoever all containers run as owns a token; without such a user everybody may read it."""
    owner = owner_of_volumes(pod)
    private = owner.user is not None or owner.group is not None
    return VolumeFile(token.encode(), 0o600 if private else mode, owner.user)


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
            files[item["path"]] = VolumeFile(entries[item["key"]], item.get("mode", mode))
        elif not optional:
            raise MissingSource(f"references non-existent {_KEYS[kind]} key: {item['key']}")
    return files


def _downward(item: Mapping[str, Any], mode: int, facts: PodFacts) -> VolumeFile:
    if reference := item.get("fieldRef"):
        value = field_value(facts, reference["fieldPath"])
    else:
        value = resource_value(facts, item.get("resourceFieldRef") or {}, "")
    return VolumeFile(value.encode(), item.get("mode", mode))


def _token_key(body: Mapping[str, Any]) -> tuple[str, int]:
    return body.get("audience") or "", int(body.get("expirationSeconds") or _TOKEN_SECONDS)


def _made_for(name: str, pod: Obj, sources: Sources, owner: Owner) -> Place:
    """An ephemeral volume's claim has its pod as the owner, or is somebody else's."""
    title = f"{objects.name(pod)}-{name}"
    claim = sources.get("persistentvolumeclaim", title)
    if claim is None or not made_for(claim, pod):
        raise VolumeError(f'PVC "{title}" was not created for this pod')
    return _claimed({"claimName": title}, sources, owner)


def _claimed(body: Mapping[str, Any], sources: Sources, owner: Owner) -> Place:
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
    place = Path(path)
    provisioned = _PROVISIONED_BY in objects.annotations(volume)
    if not place.exists():
        place.mkdir(parents=True)
        if provisioned:
            place.chmod(0o777)
    if provisioned and not body.get("readOnly"):
        give_to_group(place, owner)
    return Place(place, bool(body.get("readOnly")))
