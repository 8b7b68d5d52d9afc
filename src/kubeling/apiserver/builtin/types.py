"""The built-in types: fields, requiredness, list and merge semantics, protobuf numbers.

The facts are a generated table (``types.json``, written by ``tools/builtin_types.py`` from the
published API declarations), read when first needed; schemas are made from it one definition at a
time, so a platform that never sees a ``CSIDriver`` never pays for its schema.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from kubeling.kube.objects import Obj

__all__ = [
    "LISTS",
    "META",
    "Field",
    "definition_schema",
    "definitions",
    "fields",
    "has",
    "wire_fields",
]

META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
"""The package of the types that all objects share."""

_SCALARS: Final[dict[str, Obj]] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "quantity": {"x-kubernetes-int-or-string": True, "x-kubeling-format": "quantity"},
    "intstr": {"x-kubernetes-int-or-string": True, "x-kubeling-format": "int-or-string"},
    "time": {"type": "string", "format": "date-time", "nullable": True},
    "microtime": {"type": "string", "format": "date-time", "nullable": True},
    "duration": {"type": "string"},
    "fields": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


LISTS: Final = (".ExtraValue",)
"""Messages in protobuf that are lists in JSON."""

_ATOMIC: Final = frozenset(
    f"io.k8s.{name}"
    for name in (
        "api.admissionregistration.v1.MatchResources",
        "api.admissionregistration.v1.NamedRuleWithOperations",
        "api.admissionregistration.v1.ParamKind",
        "api.admissionregistration.v1.ParamRef",
        "api.admissionregistration.v1.Variable",
        "api.autoscaling.v1.CrossVersionObjectReference",
        "api.core.v1.ConfigMapKeySelector",
        "api.core.v1.EndpointAddress",
        "api.core.v1.EndpointPort",
        "api.core.v1.FileKeySelector",
        "api.core.v1.LocalObjectReference",
        "api.core.v1.NodeSelector",
        "api.core.v1.NodeSelectorTerm",
        "api.core.v1.ObjectFieldSelector",
        "api.core.v1.ObjectReference",
        "api.core.v1.ResourceFieldSelector",
        "api.core.v1.ScopeSelector",
        "api.core.v1.SecretKeySelector",
        "api.core.v1.SecretReference",
        "api.core.v1.TopologySelectorTerm",
        "api.core.v1.TypedLocalObjectReference",
        "api.discovery.v1.EndpointPort",
        "api.networking.v1.ServiceBackendPort",
        "api.rbac.v1.RoleRef",
        "api.rbac.v1.Subject",
        "apimachinery.pkg.apis.meta.v1.LabelSelector",
        "apimachinery.pkg.apis.meta.v1.OwnerReference",
    )
)
"""Types that have one owner as a whole, wherever they are (``+structType=atomic``)."""


class Field(NamedTuple):
    """One field: ``container`` is ``[]`` for lists and ``{}`` for maps of ``type``.

    A ``pointer`` is a scalar whose zero value says something else than its absence.
    """

    number: int
    container: Literal["", "[]", "{}"]
    type: str
    required: bool
    inline: bool
    merge_key: str
    patch_strategy: str
    list_type: str
    list_keys: tuple[str, ...]
    atomic: bool
    pointer: bool
    default: Any


@cache
def _table() -> dict[str, dict[str, list[Any]]]:
    table: dict[str, dict[str, list[Any]]] = msgspec.json.decode(
        Path(__file__).with_name("types.json").read_bytes()
    )
    return table


def definitions() -> list[str]:
    """The full names of all definitions."""
    return list(_table())


def has(definition: str) -> bool:
    """Whether there is a definition of that name."""
    return definition in _table()


@cache
def wire_fields(definition: str) -> dict[str, Field]:
    """The fields as protobuf has them: embedded structs are fields of their own."""
    return {name: _field(*row) for name, row in _table()[definition].items()}


@cache
def fields(definition: str) -> dict[str, Field]:
    """The fields as JSON has them: embedded structs are opened."""
    found: dict[str, Field] = {}
    for name, field in wire_fields(definition).items():
        if field.inline:
            found |= fields(field.type)
        else:
            found[name] = field
    return found


@cache
def definition_schema(definition: str) -> Obj:
    """The structural schema of a definition; other definitions appear as ``x-kubeling-ref``."""
    properties: Obj = {name: _schema(field) for name, field in fields(definition).items()}
    if definition.endswith(LISTS):
        return cast(Obj, properties["items"])
    schema: Obj = {"type": "object", "properties": properties}
    if definition in _ATOMIC:
        schema["x-kubernetes-map-type"] = "atomic"
    required = [name for name, field in fields(definition).items() if field.required]
    if required:
        schema["required"] = required
    return schema


def _field(
    number: int,
    container: Literal["", "[]", "{}"],
    type: str,
    facts: dict[str, Any] | None = None,
) -> Field:
    facts = facts or {}
    return Field(
        number,
        container,
        type,
        bool(facts.get("required")),
        bool(facts.get("inline")),
        facts.get("mergeKey", ""),
        facts.get("patch", ""),
        facts.get("list", ""),
        tuple(facts.get("keys", ())),
        bool(facts.get("atomic")),
        bool(facts.get("pointer")),
        facts.get("default"),
    )


def _schema(field: Field) -> Obj:
    node = _type_schema(field.type)
    if field.container == "{}":
        node = {"type": "object", "additionalProperties": node}
        if field.atomic:
            node["x-kubernetes-map-type"] = "atomic"
        return node
    if field.container == "":
        return _single(node, field)
    node = {"type": "array", "items": node}
    if field.list_type:
        node["x-kubernetes-list-type"] = field.list_type
    if field.list_keys:
        node["x-kubernetes-list-map-keys"] = list(field.list_keys)
    if field.patch_strategy:
        node["x-kubernetes-patch-strategy"] = field.patch_strategy
    if field.merge_key:
        node["x-kubernetes-patch-merge-key"] = field.merge_key
    return node


def _single(node: Obj, field: Field) -> Obj:
    extra: Obj = {"x-kubernetes-map-type": "atomic"} if field.atomic else {}
    # An empty default says no more than the type does.
    if field.default:
        extra["default"] = field.default
    return {**node, **extra} if extra else node


def _type_schema(type: str) -> Obj:
    if type in _SCALARS:
        return _SCALARS[type]
    if type.startswith("any:"):
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {"x-kubeling-ref": type}
