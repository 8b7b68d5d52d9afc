"""Structural schemas, compiled once: defaulting, pruning and validation in Kubernetes' words.

CRD schemas and built-in types go through the same engine. A node is compiled when an object first
reaches it, because a PodSpec-sized schema has a thousand nodes of which few are ever used, and a
definition that refers to itself (``JSONSchemaProps``) could not be compiled otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

from kubeling.apiserver.constraints import (
    Predicate,
    limit_errors,
    list_bounds,
    list_errors,
    object_bounds,
    object_errors,
    quantity_error,
    value_limits,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.quantities import canonical_quantity

__all__ = ["Resolve", "Schema", "compile_schema"]

Resolve = Callable[[str], Obj]
"""Finds a built-in definition by its full name."""

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_WHOLE: Final = ("io.k8s.api.core.v1.PersistentVolumeClaim",)
"""Kinds that objects of others hold whole, with ``apiVersion`` and ``kind``."""
_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_ENVELOPE: Final[Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"x-kubeling-ref": _OBJECT_META},
}
_COMBINATIONS: Final = frozenset({"allOf", "anyOf", "oneOf", "not"})
_ZEROS: Final[dict[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "object": {},
    "int-or-string": 0,
}
_PYTHON_TYPES: Final[dict[str, type]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict,
    "array": list,
}


def compile_schema(schema: Obj, resolve: Resolve, *, root: bool = False) -> Schema:
    """Compiles a schema; ``root`` adds what every object has (apiVersion, kind, metadata)."""
    return Schema(schema, resolve, envelope=root)


class Schema:
    """One compiled node. The methods change objects in place and never raise for bad input."""

    def __init__(self, node: Obj, resolve: Resolve, *, envelope: bool = False) -> None:
        self._resolve = resolve
        reference = self._reference = str(node.get("x-kubeling-ref") or "")
        self._node: Obj = {**resolve(reference), **_own(node)} if reference else node
        self._envelope = envelope or bool(node.get(_EMBEDDED)) or reference in _WHOLE
        # A reference is checked although the node itself preserves unknown fields.
        self._preserves = bool(node.get(_PRESERVE)) and not reference
        self._type: str = self._node.get("type", "")

    @cached_property
    def properties(self) -> dict[str, Schema]:
        """The nodes of the named properties."""
        nodes = dict(self._node.get("properties") or {})
        if self._envelope:
            nodes |= _ENVELOPE
        return {name: Schema(node, self._resolve) for name, node in nodes.items()}

    @cached_property
    def items(self) -> Schema | None:
        """The node of a list's items."""
        node = self._node.get("items")
        return Schema(node, self._resolve) if isinstance(node, dict) else None

    @cached_property
    def additional(self) -> Schema | None:
        """The node of a map's values."""
        node = self._node.get("additionalProperties")
        return Schema(node, self._resolve) if isinstance(node, dict) else None

    @cached_property
    def _branches(self) -> dict[str, list[Schema]]:
        return {
            key: [Schema(node, self._resolve) for node in self._node[key]]
            for key in ("allOf", "anyOf", "oneOf")
            if key in self._node
        }

    @cached_property
    def _forbidden(self) -> Schema | None:
        node = self._node.get("not")
        return Schema(node, self._resolve) if isinstance(node, dict) else None

    @cached_property
    def _defaults(self) -> list[tuple[str, Any]]:
        return [
            (name, schema._node["default"])
            for name, schema in self.properties.items()
            if "default" in schema._node
        ]

    @property
    def nullable(self) -> bool:
        return bool(self._node.get("nullable"))

    @property
    def accepts_null(self) -> bool:
        """Whether a ``null`` says something: it does where no type is named, too."""
        return self.nullable or not (self._type or _INT_OR_STRING in self._node)

    def child(self, name: str) -> Schema | None:
        """The node of a property or of a map's value, if the schema says anything about it."""
        return self.properties.get(name) or self.additional

    @property
    def type(self) -> str:
        """The JSON type; ``int-or-string`` where both will do, nothing where any will."""
        return "int-or-string" if _INT_OR_STRING in self._node else self._type

    @property
    def format(self) -> str:
        return str(self._node.get("format", ""))

    @property
    def reference(self) -> str:
        """The full name of the built-in type, if the node is one."""
        return self._reference

    @cached_property
    def quantity(self) -> bool:
        """Whether the value is an amount such as ``100m`` or ``2Gi``."""
        return self._node.get("x-kubeling-format") == "quantity"

    @property
    def untyped(self) -> bool:
        """Whether any JSON will do."""
        return not (self._type or self.properties or _INT_OR_STRING in self._node)

    @cached_property
    def list_type(self) -> str:
        """``atomic``, ``set`` or ``map``: how appliers share a list."""
        return str(self._node.get("x-kubernetes-list-type", "atomic"))

    @cached_property
    def list_keys(self) -> tuple[str, ...]:
        """The fields that identify an item of a ``map`` list."""
        return tuple(self._node.get("x-kubernetes-list-map-keys") or ())

    @cached_property
    def atomic(self) -> bool:
        """Whether an object has one owner as a whole."""
        return self._node.get("x-kubernetes-map-type") == "atomic"

    @cached_property
    def patch_strategies(self) -> frozenset[str]:
        """Strategic merge's ``merge``, ``replace`` and ``retainKeys``."""
        return frozenset(
            filter(None, str(self._node.get("x-kubernetes-patch-strategy", "")).split(","))
        )

    @cached_property
    def merge_key(self) -> str:
        """The field by which strategic merge finds an item."""
        return str(self._node.get("x-kubernetes-patch-merge-key", ""))

    def default_of(self, name: str) -> Any:
        """The default of a property, or ``None``."""
        found = self.properties.get(name)
        return None if found is None else found._node.get("default")

    # Defaulting

    def default(self, value: Any) -> None:
        """Fills in defaults; a ``null`` that is not allowed counts as absent."""
        if isinstance(value, dict):
            for name, default in self._defaults:
                if value.get(name) is None and not self.properties[name].nullable:
                    value[name] = deep_copy(default)
            for name in [name for name, inner in value.items() if inner is None]:
                if (schema := self.child(name)) is not None and not schema.accepts_null:
                    del value[name]
            for name, inner in value.items():
                if inner is not None and (schema := self.child(name)) is not None:
                    schema.default(inner)
        elif isinstance(value, list) and self.items is not None:
            for inner in value:
                self.items.default(inner)

    def normalise(self, value: Any) -> None:
        """Writes values as Go structs would, for built-in kinds: without nulls, amounts canonical.

        A null field is left out; a null in a list or a map is the zero value of its type.
        """
        if isinstance(value, dict):
            zero = self.additional.zero if self.additional is not None else None
            for name in [name for name, inner in value.items() if inner is None]:
                if zero is None:
                    del value[name]
                else:
                    value[name] = deep_copy(zero)
            for name, inner in value.items():
                schema = self.child(name)
                if schema is not None and schema.quantity:
                    value[name] = canonical_quantity(inner)
                elif schema is not None:
                    schema.normalise(inner)
        elif isinstance(value, list) and self.items is not None:
            for index, inner in enumerate(value):
                if inner is None:
                    value[index] = deep_copy(self.items.zero)
                else:
                    self.items.normalise(inner)

    @property
    def zero(self) -> Any:
        """What a Go value of this type is before anything is written to it."""
        return None if self.untyped else _ZEROS.get(self.type)

    # Pruning

    def prune(self, value: Any, path: str = "") -> list[str]:
        """Drops fields the schema does not know; returns their paths."""
        return list(self._prune(value, path))

    def _prune(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            if self.closed:
                for name in [name for name in value if name not in self.properties]:
                    del value[name]
                    yield _join(path, name)
            for name, inner in value.items():
                if isinstance(inner, dict | list) and (schema := self.child(name)) is not None:
                    yield from schema._prune(inner, _join(path, name))
        elif isinstance(value, list) and self.items is not None:
            for index, inner in enumerate(value):
                yield from self.items._prune(inner, f"{path}[{index}]")

    @cached_property
    def closed(self) -> bool:
        """Whether an object has the named properties and no others."""
        if self._preserves or self.additional is not None or _INT_OR_STRING in self._node:
            return False
        return self._node.get("additionalProperties") is not True and (
            self._type == "object" or bool(self.properties)
        )

    # Both at once

    def conforms(self, value: Any) -> bool:
        """Whether there is nothing to prune, to drop or to complain about.

        Almost every object is like this, and telling so costs a fraction of the passes that
        would say what is wrong.
        """
        if self.quantity:
            return quantity_error(value, "") is None and canonical_quantity(value) == value
        if type(value) is not self._python_type and (
            value is None or self._wrong_type(value, "") is not None
        ):
            return False
        if self._limits is not None and not self._limits(value):
            return False
        if self._combining and any(self._combined(value, "")):
            return False
        if isinstance(value, dict):
            return self._conforming_object(value)
        return not isinstance(value, list) or self._conforming_list(value)

    def _conforming_object(self, value: Obj) -> bool:
        plain, properties, additional = self._plain_properties, self.properties, self.additional
        for name, inner in value.items():
            if plain.get(name) is type(inner):
                continue
            schema = properties.get(name) or additional
            if schema is None:
                if self.closed:
                    return False
            elif schema._plain is not type(inner) and not schema.conforms(inner):
                return False
        return self._object_bounds is None or self._object_bounds(value)

    def _conforming_list(self, value: list[Any]) -> bool:
        items = self.items
        if items is not None:
            plain = items._plain
            for inner in value:
                if type(inner) is not plain and not items.conforms(inner):
                    return False
        return self._list_bounds is None or self._list_bounds(value)

    @cached_property
    def _plain(self) -> Any:
        """The Python type of which all values conform, if there is one."""
        if self._limits is not None or self._combining or _INT_OR_STRING in self._node:
            return None
        return self._python_type if self._type in ("string", "integer", "boolean") else None

    @cached_property
    def _plain_properties(self) -> dict[str, Any]:
        """The properties that need no second look, with the types of their values."""
        return {
            name: schema._plain
            for name, schema in self.properties.items()
            if schema._plain is not None
        }

    # Validation

    def validate(self, value: Any, path: str = "") -> list[FieldError]:
        """What is wrong with a value, in the order of its fields."""
        return list(self._validate(value, path))

    def _validate(self, value: Any, path: str) -> Iterator[FieldError]:
        if value is None and self.nullable:
            return
        if (error := self._wrong_type(value, path)) is not None:
            yield error
            return
        if self._limits is not None:
            yield from limit_errors(self._node, value, path)
        if isinstance(value, dict):
            yield from self._object(value, path)
        elif isinstance(value, list):
            yield from self._list(value, path)
        if self._combining:
            yield from self._combined(value, path)

    @cached_property
    def _python_type(self) -> Any:
        return _PYTHON_TYPES.get(self._type)

    @cached_property
    def _limits(self) -> Predicate | None:
        return value_limits(self._node)

    @cached_property
    def _object_bounds(self) -> Predicate | None:
        return object_bounds(self._node)

    @cached_property
    def _list_bounds(self) -> Predicate | None:
        return list_bounds(self._node)

    @cached_property
    def _combining(self) -> bool:
        return not _COMBINATIONS.isdisjoint(self._node)

    def _wrong_type(self, value: Any, path: str) -> FieldError | None:
        found = _type_of(value)
        if self._node.get(_INT_OR_STRING):
            if self.quantity:
                return quantity_error(value, path)
            fits, wanted = found in ("integer", "string"), "integer,string"
        else:
            wanted = self._type
            fits = (
                not wanted
                or found == wanted
                or (wanted == "number" and found == "integer")
                or (wanted == "integer" and found == "number" and float(value).is_integer())
            )
        if fits:
            return None
        message = f'{path or "<root>"} in body must be of type {wanted}: "{found}"'
        return FieldError(path, "Invalid value", message, found)

    def _object(self, value: Obj, path: str) -> Iterator[FieldError]:
        yield from object_errors(self._node, value, path)
        for name, inner in value.items():
            if (schema := self.child(name)) is not None:
                yield from schema._validate(inner, _join(path, name))

    def _list(self, value: list[Any], path: str) -> Iterator[FieldError]:
        yield from list_errors(self._node, value, path)
        if self.items is not None:
            for index, inner in enumerate(value):
                yield from self.items._validate(inner, f"{path}[{index}]")

    def _combined(self, value: Any, path: str) -> Iterator[FieldError]:
        shown = f'"{path}"'
        for branch in self._branches.get("allOf", ()):
            yield from branch._validate(value, path)
        if "anyOf" in self._branches and not self._fitting("anyOf", value, path):
            message = f"{shown} must validate at least one schema (anyOf)"
            yield FieldError(path, "Invalid value", message, "")
        if "oneOf" in self._branches and (fitting := self._fitting("oneOf", value, path)) != 1:
            found = f"{fitting} valid alternatives" if fitting else "none valid"
            message = f"{shown} must validate one and only one schema (oneOf). Found {found}"
            yield FieldError(path, "Invalid value", message, "")
        if self._forbidden is not None and not self._forbidden.validate(value, path):
            message = f"{shown} must not validate the schema (not)"
            yield FieldError(path, "Invalid value", message, "")

    def _fitting(self, key: str, value: Any, path: str) -> int:
        return sum(not branch.validate(value, path) for branch in self._branches[key])


def _own(node: Obj) -> Obj:
    return {key: value for key, value in node.items() if key not in ("x-kubeling-ref", _PRESERVE)}


def _join(path: str, name: str) -> str:
    if not path:
        return name
    return f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}"


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
