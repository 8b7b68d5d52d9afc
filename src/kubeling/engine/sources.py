"""The objects a pod refers to, gathered before anything is built from them.

Gathering is the only step that talks to the API; what is made of the objects is pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kubeling.engine.podspec import all_containers, spec
from kubeling.engine.storage.usage import claims_of_pod
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, namespace
from kubeling.kube.resources import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    SECRETS,
    Resource,
)

__all__ = ["MissingSource", "SourceKind", "Sources", "gather", "read_source", "references"]

SourceKind = Literal["configmap", "secret", "persistentvolumeclaim", "persistentvolume"]

RESOURCES: Final[Mapping[SourceKind, Resource]] = {
    "configmap": CONFIG_MAPS,
    "secret": SECRETS,
    "persistentvolumeclaim": PERSISTENT_VOLUME_CLAIMS,
    "persistentvolume": PERSISTENT_VOLUMES,
}


class MissingSource(Exception):
    """Something the pod needs does not exist (yet); the pod waits for it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """ConfigMaps, Secrets and claims by kind and name."""

    objects: Mapping[tuple[SourceKind, str], Obj] = field(default_factory=dict)

    def get(self, kind: SourceKind, name: str, *, optional: bool = False) -> Obj | None:
        """The object; raises :class:`MissingSource` if it is needed and absent."""
        found = self.objects.get((kind, name))
        if found is None and not optional:
            raise MissingSource(f'{kind} "{name}" not found')
        return found


async def gather(pod: Obj, client: Client, informers: Informers) -> Sources:
    """Reads all that the pod refers to and that exists."""
    found: dict[tuple[SourceKind, str], Obj] = {}
    for kind, name in references(pod):
        if (obj := await read_source(kind, name, namespace(pod), client, informers)) is None:
            continue
        found[kind, name] = obj
        if kind == "persistentvolumeclaim" and (volume := spec(obj).get("volumeName")):
            bound = await read_source("persistentvolume", volume, "", client, informers)
            if bound is not None:
                found["persistentvolume", volume] = bound
    return Sources(found)


async def read_source(
    kind: SourceKind, name: str, namespace: str, client: Client, informers: Informers
) -> Obj | None:
    """One object, if it exists."""
    if kind in ("configmap", "secret"):
        # Few of them are any pod's: they are not all kept for those few.
        return await client.find(RESOURCES[kind], name, namespace)
    # A cache may lag behind the pod that was created right after the object.
    cached = informers.of(RESOURCES[kind]).get(namespace, name)
    return cached or await client.find(RESOURCES[kind], name, namespace)


def references(pod: Obj) -> set[tuple[SourceKind, str]]:
    """The ConfigMaps, Secrets and claims that a pod names."""
    found = set(_of_variables(pod))
    for claim in claims_of_pod(pod):
        found.add(("persistentvolumeclaim", claim.name))
    for volume in spec(pod).get("volumes") or ():
        found.update(_of_volume(volume))
        for source in (volume.get("projected") or {}).get("sources") or ():
            found.update(_of_volume(source))
    return found


def _of_variables(pod: Obj) -> Iterator[tuple[SourceKind, str]]:
    for container in all_containers(pod):
        for source in container.get("envFrom") or ():
            yield from _named(source, "configMapRef", "secretRef")
        for variable in container.get("env") or ():
            yield from _named(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _named(source: Obj, config_map: str, secret: str) -> Iterator[tuple[SourceKind, str]]:
    if name := (source.get(config_map) or {}).get("name"):
        yield "configmap", name
    if name := (source.get(secret) or {}).get("name"):
        yield "secret", name


def _of_volume(volume: Mapping[str, Any]) -> Iterator[tuple[SourceKind, str]]:
    if name := (volume.get("configMap") or {}).get("name"):
        yield "configmap", name
    secret = volume.get("secret") or {}
    if name := secret.get("secretName") or secret.get("name"):
        yield "secret", name
