"""OpenAPI documents, made when asked for and kept, compressed, until the catalogue changes.

The index names a hash for every document. It is taken from what the document is made of, not from
its text, so that answering the index makes none of them: they cost a large part of a second.
"""

from __future__ import annotations

import gzip
import hashlib
from typing import Final

import msgspec

from kubeling import __version__
from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.openapi import Described, group_document, group_path
from kubeling.apiserver.served import Served
from kubeling.apiserver.shapes import CustomShape
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj

__all__ = ["OpenApiDocuments"]

_FORM: Final = 3
"""Raised when documents come to say the same things differently: clients keep them by hash."""
_WHOLE: Final = "v2"
_DEFINITIONS: Final = {entry.resource: entry.definition for entry in BUILTIN_RESOURCES}


class OpenApiDocuments:
    """The documents of everything the server offers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._groups: dict[str, list[Served]] = {}
        self._tags: dict[str, str] = {}
        self._ready: dict[str, tuple[str, bytes]] = {}

    def index(self) -> Obj:
        """``/openapi/v3``."""
        self._refresh()
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={tag}"}
                for path, tag in self._tags.items()
            }
        }

    def document(self, path: str) -> tuple[bytes, str]:
        """One document, compressed, and its hash; raises :class:`NotFound`."""
        self._refresh()
        served = self._groups.get(path)
        if served is None:
            raise NotFound("the server could not find the requested resource")
        tag = self._tags[path]
        known = self._ready.get(path)
        if known is None or known[0] != tag:
            resource = served[0].resource
            text = group_document(resource.group, resource.version, map(_described, served))
            known = self._ready[path] = (tag, gzip.compress(text, 5))
        return known[1], tag

    def whole(self, *, protobuf: bool = False) -> tuple[bytes, str]:
        """The one document of ``/openapi/v2``, compressed, and its hash."""
        self._refresh()
        form = f"{_WHOLE} {protobuf}"
        tag = hashlib.sha256(f"{form}{''.join(self._tags.values())}".encode()).hexdigest()[:32]
        known = self._ready.get(form)
        if known is None or known[0] != tag:
            text = self._whole(protobuf=protobuf)
            known = self._ready[form] = (tag, gzip.compress(text, 5))
        return known[1], tag.upper()

    def _whole(self, *, protobuf: bool) -> bytes:
        from kubeling.apiserver.openapi_protobuf import encode_document
        from kubeling.apiserver.openapi_v2 import whole_document

        parts = (gzip.decompress(self.document(path)[0]) for path in self._groups)
        document = whole_document(parts)
        return encode_document(document) if protobuf else msgspec.json.encode(document)

    def _refresh(self) -> None:
        if self._generation == self._catalog.generation:
            return
        self._generation = self._catalog.generation
        self._groups = {}
        for served in self._catalog:
            resource = served.resource
            if served.definition is None and resource not in _DEFINITIONS:
                continue
            path = group_path(resource.group, resource.version)
            self._groups.setdefault(path, []).append(served)
        self._tags = {path: _tag(served) for path, served in self._groups.items()}


def _tag(served: list[Served]) -> str:
    digest = hashlib.sha256(f"{__version__} {_FORM}".encode())
    for one in served:
        metadata = (one.definition or {}).get("metadata", {})
        digest.update(f"{one.resource.kind} {metadata.get('uid')} ".encode())
        digest.update(f"{metadata.get('generation')}\n".encode())
    return digest.hexdigest()[:32].upper()


def _described(served: Served) -> Described:
    resource = served.resource
    schema = served.shape.source if isinstance(served.shape, CustomShape) else None
    if served.definition is None:
        definition = _DEFINITIONS[resource]
    else:
        reverse = ".".join(reversed(resource.group.split(".")))
        definition = f"{reverse}.{resource.version}.{resource.kind}"
    return Described(
        resource,
        definition,
        schema,
        scale="scale" in served.subresources,
        status="status" in served.subresources,
    )
