"""ClusterStorageContainer: containers of one's own that fetch models of certain addresses.

As upstream's: the first enabled one (by name, as upstream leaves the order open) whose formats
cover an address fetches it, in place of the built-in initializer. It is called with the address and
the folder, gets the same credentials, and is what makes a scheme of one's own usable at all. Claims
are mounted and registered models looked up before anybody is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.crd import Container, crd
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings, name
from kubeling.kube.resources import Resource
from kubeling.serving.storage.uris import SCHEMES, StorageNotFound, UnknownScheme, parse_uri

__all__ = [
    "CLUSTER_STORAGE_CONTAINERS",
    "FOR_DOWNLOADS",
    "StorageContainers",
    "storage_container_definition",
    "validate_storage_container",
]

CLUSTER_STORAGE_CONTAINERS: Final = Resource(
    "serving.kserve.io",
    "v1alpha1",
    "ClusterStorageContainer",
    "clusterstoragecontainers",
    False,
)
FOR_PODS: Final = "initContainer"
FOR_DOWNLOADS: Final = "localModelDownloadJob"


class SupportedUriFormat(msgspec.Struct, rename="camel", omit_defaults=True):
    """Addresses by how they begin, or by an expression found anywhere in them."""

    prefix: str | None = None
    regex: str | None = None


class StorageContainerSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A container that fetches models, and of which addresses."""

    container: Container
    supported_uri_formats: list[SupportedUriFormat]
    workload_type: Literal["initContainer", "localModelDownloadJob"] = "initContainer"
    supports_multi_model_download: bool | None = None


def storage_container_definition() -> Obj:
    """The definition of the kind; ``disabled`` stands beside ``spec``, as upstream has it."""
    found = crd(CLUSTER_STORAGE_CONTAINERS, StorageContainerSpec)
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["disabled"] = {"type": "boolean"}
    return found


def validate_storage_container(
    obj: Obj, old: Obj | None, _: AdmissionRequest
) -> Iterator[FieldError]:
    """Names what is wrong with a storage container."""
    formats = mappings(mapping(obj.get("spec")).get("supportedUriFormats"))
    if not formats:
        yield FieldError("spec.supportedUriFormats", "Required value", "e.g. [{prefix: 'abc://'}]")
    for index, entry in enumerate(formats):
        path = f"spec.supportedUriFormats[{index}]"
        prefix, regex = entry.get("prefix"), entry.get("regex")
        if bool(prefix) == bool(regex):
            yield FieldError(path, "Invalid value", "give either prefix or regex", entry)
        elif regex:
            try:
                re.compile(str(regex))
            except re.error as error:
                yield FieldError(f"{path}.regex", "Invalid value", str(error), regex)


class StorageContainers:
    """The storage containers there are, asked by a model's address."""

    def __init__(
        self, objects: Iterable[Obj] = (), named: str | None = None, purpose: str = FOR_PODS
    ) -> None:
        usable = [
            obj
            for obj in sorted(objects, key=name)
            if not obj.get("disabled") and obj["spec"].get("workloadType", FOR_PODS) == purpose
        ]
        self._names = [name(obj) for obj in usable]
        self._usable = [obj for obj in usable if named in (None, "", name(obj))]
        self._named = named

    def of(self, uri: str) -> Obj | None:
        """The container that fetches ``uri``; ``None`` for the built-in initializer.

        Raises :class:`StorageNotFound` if nothing fetches it.
        """
        for obj in self._usable:
            if any(_covers(entry, uri) for entry in obj["spec"]["supportedUriFormats"]):
                found: Obj = obj["spec"]["container"]
                return found
        if self._named:
            known = ", ".join(self._names) or "none"
            raise StorageNotFound(
                f'spec.predictor.storageContainerName: no ClusterStorageContainer "{self._named}" '
                f"that fetches {uri}; those in use: {known}"
            )
        try:
            parse_uri(uri)
        except UnknownScheme as error:
            raise StorageNotFound(
                f"{uri}: no ClusterStorageContainer fetches {error}:// addresses; supported "
                f"without one: {', '.join(f'{scheme}://' for scheme in SCHEMES)} and plain paths"
            ) from None
        return None


def _covers(entry: Obj, uri: str) -> bool:
    if prefix := entry.get("prefix"):
        return uri.startswith(str(prefix))
    return re.search(str(entry["regex"]), uri) is not None
