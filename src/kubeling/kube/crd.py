"""CustomResourceDefinitions generated from typed structs.

A room describes the spec and status of a kind as msgspec structs and this module turns them into
a structural OpenAPI v3 schema, so what a controller reads and what the API checks cannot drift
apart. Python names become camelCase on the wire unless a field says otherwise; docstrings of the
structs become descriptions for ``kubectl explain``.

Fields that hold parts of built-in kinds are annotated with the markers below. They are plain dicts
at run time; in the schema they preserve unknown fields, which keeps a definition some kilobytes
small where the full types would make it hundreds, and carry ``x-kubeling-ref``. The embedded API
server looks up there what they hold, so that a misspelt container field is refused; no other
server knows the extension, and :func:`portable` leaves it out.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import Resource

__all__ = [
    "Affinity",
    "AnyObject",
    "Column",
    "Condition",
    "Container",
    "EnvVar",
    "IntOrString",
    "LabelSelector",
    "PodSpec",
    "PodTemplateSpec",
    "Ref",
    "ResourceRequirements",
    "Scale",
    "Time",
    "Version",
    "Volume",
    "crd",
    "portable",
    "schema_of",
]


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks a field as a built-in type, by its OpenAPI definition name."""

    definition: str


@dataclass(frozen=True, slots=True)
class Schema:
    """Adds to, or overrides, the generated schema node of a field."""

    node: tuple[tuple[str, Any], ...]


def _extra(**node: Any) -> Schema:
    return Schema(tuple((key.replace("_", "-"), value) for key, value in node.items()))


PodTemplateSpec = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.PodTemplateSpec")]
PodSpec = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.PodSpec")]
Container = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.Container")]
EnvVar = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.EnvVar")]
Volume = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.Volume")]
Affinity = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.Affinity")]
ResourceRequirements = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.ResourceRequirements")]
LabelSelector = Annotated[dict[str, Any], Ref("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")]
IntOrString = Annotated[int | str, _extra(x_kubernetes_int_or_string=True)]
Time = Annotated[str, _extra(format="date-time")]
AnyObject = Annotated[dict[str, Any], _extra(x_kubernetes_preserve_unknown_fields=True)]


class Condition(msgspec.Struct, rename="camel", omit_defaults=True):
    """One aspect of the object's state, as most Kubernetes kinds report it."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None
    last_update_time: Time | None = None
    observed_generation: int | None = None
    severity: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column: ``json_path`` such as ``.status.phase``; priority 1 shows with -o wide."""

    name: str
    json_path: str
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    priority: int = 0


AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource finds its numbers."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A further served version with the same or another schema (conversion ``None``)."""

    name: str
    spec: Any = None
    status: Any = None


def crd(
    resource: Resource,
    spec: Any,
    status: Any = None,
    *,
    columns: Sequence[Column] = (),
    scale: Scale | None = None,
    versions: Sequence[Version] = (),
    spec_required: bool = True,
) -> Obj:
    """The definition of a kind; ``spec`` and ``status`` are structs or schema nodes.

    Without ``status`` the kind has no status subresource. ``versions`` are served beside
    ``resource.version``, which is the one stored.
    """
    names: Obj = {
        "plural": resource.plural,
        "singular": resource.singular,
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
    }
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    if resource.categories:
        names["categories"] = list(resource.categories)
    served = [_version(resource.version, spec, status, columns, scale, spec_required, storage=True)]
    served += [
        _version(
            version.name,
            version.spec if version.spec is not None else spec,
            version.status if version.status is not None else status,
            columns,
            scale,
            spec_required,
            storage=False,
        )
        for version in versions
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.qualified},
        "spec": {
            "group": resource.group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": served,
        },
    }


def _version(
    name: str,
    spec: Any,
    status: Any,
    columns: Sequence[Column],
    scale: Scale | None,
    spec_required: bool,
    *,
    storage: bool,
) -> Obj:
    properties: Obj = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": schema_of(spec),
    }
    subresources: Obj = {}
    if status is not None:
        properties["status"] = schema_of(status)
        subresources["status"] = {}
    if scale is not None:
        paths = {
            "specReplicasPath": scale.spec_replicas,
            "statusReplicasPath": scale.status_replicas,
        }
        if scale.label_selector:
            paths["labelSelectorPath"] = scale.label_selector
        subresources["scale"] = paths
    schema: Obj = {"type": "object", "properties": properties}
    if spec_required:
        schema["required"] = ["spec"]
    version: Obj = {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
    }
    if subresources:
        version["subresources"] = subresources
    version["additionalPrinterColumns"] = [_column(c) for c in [*columns, AGE]]
    return version


def _column(column: Column) -> Obj:
    shown: Obj = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.priority:
        shown["priority"] = column.priority
    return shown


def portable(part: Any) -> Any:
    """A definition, or a part of one, in which every API server knows everything."""
    match part:
        case dict():
            return {key: portable(v) for key, v in part.items() if key != "x-kubeling-ref"}
        case list():
            return [portable(item) for item in part]
        case _:
            return part


def schema_of(type_: Any) -> Obj:
    """The structural schema of a Python type; a dict is taken as a schema already."""
    if isinstance(type_, dict):
        return type_
    return _node(type_)


_SCALARS: Final[dict[Any, Obj]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    Any: {"x-kubernetes-preserve-unknown-fields": True},
    dict: {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def _node(type_: Any) -> Obj:
    if type_ in _SCALARS:
        return dict(_SCALARS[type_])
    if inspect.isclass(type_) and issubclass(type_, msgspec.Struct):
        return _struct(type_)
    origin = typing.get_origin(type_)
    if origin is Annotated:
        return _annotated(type_)
    if origin in (typing.Union, types.UnionType):
        return _union(type_)
    if origin is Literal:
        return {"type": "string", "enum": list(typing.get_args(type_))}
    if origin in (list, tuple):
        return {"type": "array", "items": _node(typing.get_args(type_)[0])}
    if origin is dict:
        return _mapping(typing.get_args(type_)[1])
    raise TypeError(f"no structural schema for {type_!r}")


def _mapping(value: Any) -> Obj:
    if value is Any:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": "object", "additionalProperties": _node(value)}


def _annotated(type_: Any) -> Obj:
    base, *extras = typing.get_args(type_)
    node: Obj | None = None
    for extra in extras:
        if isinstance(extra, Ref):
            node = {
                "type": "object",
                "description": f"Kubernetes' own {extra.definition}.",
                "x-kubernetes-preserve-unknown-fields": True,
                "x-kubeling-ref": extra.definition,
            }
        elif isinstance(extra, Schema):
            added = dict(extra.node)
            if added.get("x-kubernetes-int-or-string"):
                node = added
            else:
                node = {**(_node(base) if node is None else node), **added}
        elif isinstance(extra, msgspec.Meta):
            node = _bounded(_node(base) if node is None else node, extra)
    return _node(base) if node is None else node


def _bounded(node: Obj, meta: msgspec.Meta) -> Obj:
    limits = {
        "minimum": meta.ge,
        "maximum": meta.le,
        "minLength": meta.min_length if node.get("type") == "string" else None,
        "maxLength": meta.max_length if node.get("type") == "string" else None,
        "minItems": meta.min_length if node.get("type") == "array" else None,
        "maxItems": meta.max_length if node.get("type") == "array" else None,
        "pattern": meta.pattern,
        "description": meta.description,
    }
    return {**node, **{key: value for key, value in limits.items() if value is not None}}


def _union(type_: Any) -> Obj:
    members = [m for m in typing.get_args(type_) if m not in (types.NoneType, UnsetType)]
    if set(members) == {int, str}:
        return {"x-kubernetes-int-or-string": True}
    if set(members) == {int, float}:
        return {"type": "number"}
    if len(members) == 1:
        return _node(members[0])
    return {"x-kubernetes-preserve-unknown-fields": True}


def _struct(struct: type[msgspec.Struct]) -> Obj:
    copied: Obj = deep_copy(_struct_once(struct))
    return copied


@functools.cache
def _struct_once(struct: type[msgspec.Struct]) -> Obj:
    """Reading annotations is slow, and kinds use the same structs in many places."""
    hints = typing.get_type_hints(struct, include_extras=True)
    node: Obj = {"type": "object"}
    if struct.__doc__:
        node["description"] = inspect.cleandoc(struct.__doc__)
    properties: Obj = {}
    required: list[str] = []
    for field in msgspec.structs.fields(struct):
        schema = _node(hints[field.name])
        if field.required:
            required.append(field.encode_name)
        elif _plain_default(field.default):
            schema["default"] = field.default
        properties[field.encode_name] = schema
    if properties:
        node["properties"] = properties
    if required:
        node["required"] = required
    return node


def _plain_default(default: Any) -> bool:
    """Whether a default is worth writing into the object: the empty ones are not."""
    return isinstance(default, str | int | float | bool) and default not in ("", UNSET)
