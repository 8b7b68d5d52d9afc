"""OpenAPI v3: one document per group and version.

kubectl reads these for ``apply`` (does the server know ``fieldValidation``?), ``explain`` and
``create --validate``. A document holds the group's resources and the definitions they reach; the
server keeps the bytes until its catalogue changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["Described", "group_document", "group_path"]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_REF: Final = "#/components/schemas/"
_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation")
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
_NAMED: Final[Mapping[str, tuple[str, Obj]]] = {
    "int-or-string": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    "quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
}
"""Scalars that built-in types have names for, which ``kubectl explain`` shows."""
_BUILTIN_PATCHES: Final = (*_PATCHES, "application/strategic-merge-patch+json")
"""kubectl sends what a document promises, and only built-in kinds can be merged by key."""


@dataclass(frozen=True, slots=True)
class Described:
    """A resource with its schema: a built-in definition's name, or the schema itself."""

    resource: Resource
    definition: str
    schema: Obj | None = None
    scale: bool = False
    status: bool = False


def group_path(group: str, version: str) -> str:
    """The key of a group version in the index."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def group_document(group: str, version: str, resources: Iterable[Described]) -> bytes:
    """The document of one group version."""
    schemas: dict[str, Obj] = {}
    paths: dict[str, Obj] = {}
    for described in resources:
        _describe(described, schemas, paths)
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return msgspec.json.encode(document)


def _describe(described: Described, schemas: dict[str, Obj], paths: dict[str, Obj]) -> None:
    resource = described.resource
    kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    root = described.schema if described.schema is not None else {}
    node = _convert(root or definition_schema(described.definition), schemas)
    properties = node.setdefault("properties", {})
    properties["apiVersion"] = properties["kind"] = {"type": "string"}
    properties["metadata"] = _reference(f"{_META}.ObjectMeta", schemas)
    schemas[described.definition] = {**node, "x-kubernetes-group-version-kind": [kind]}
    collection = resource.path("{namespace}" if resource.namespaced else "")
    body = {"$ref": _REF + described.definition}
    patches = _BUILTIN_PATCHES if described.schema is None else _PATCHES
    paths[collection] = {
        "get": _operation("list", kind, body),
        "post": _operation("post", kind, body, body),
    }
    paths[f"{collection}/{{name}}"] = {
        "get": _operation("get", kind, body),
        "put": _operation("put", kind, body, body),
        "patch": _operation("patch", kind, body, patches=patches),
        "delete": _operation("delete", kind, body),
    }
    for wanted, name in ((described.status, "status"), (described.scale, "scale")):
        if wanted:
            paths[f"{collection}/{{name}}/{name}"] = {
                "get": _operation("get", kind, body),
                "patch": _operation("patch", kind, body, patches=patches),
            }


def _operation(
    action: str,
    kind: Obj,
    answer: Obj,
    body: Obj | None = None,
    *,
    patches: tuple[str, ...] = (),
) -> Obj:
    operation: Obj = {
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}}
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }
    if body is not None or patches:
        names = (*_PARAMETERS, "force") if patches else _PARAMETERS
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in names
        ]
        types = patches or ("application/json",)
        shape = body or {"type": "object"}
        operation["requestBody"] = {"content": {media: {"schema": shape} for media in types}}
    return operation


def _convert(node: Mapping[str, Any], schemas: dict[str, Obj]) -> Obj:
    """A structural schema as OpenAPI, references to built-in types included."""
    if "x-kubeling-ref" in node:
        reference = _reference(node["x-kubeling-ref"], schemas)
        if description := node.get("description"):
            return {"allOf": [reference], "description": description}
        return reference
    if named := _NAMED.get(node.get("x-kubeling-format", "")):
        schemas.setdefault(*named)
        return {"$ref": _REF + named[0]}
    result: Obj = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _convert(inner, schemas) for name, inner in value.items()}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            result[key] = _convert(value, schemas)
        elif key in ("allOf", "anyOf", "oneOf"):
            result[key] = [_convert(inner, schemas) for inner in value]
        else:
            result[key] = value
    if node.get("x-kubernetes-int-or-string"):
        result.setdefault("oneOf", [{"type": "integer"}, {"type": "string"}])
        result.setdefault("format", "int-or-string")
    return result


def _reference(definition: str, schemas: dict[str, Obj]) -> Obj:
    if definition not in schemas:
        schemas[definition] = {}
        schemas[definition].update(_convert(definition_schema(definition), schemas))
    return {"$ref": _REF + definition}
