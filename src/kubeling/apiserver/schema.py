"""Structural schemas, compiled once: defaulting, pruning and validation in Kubernetes' words.

CRD schemas and built-in types go through the same engine. A node is compiled when an object first
reaches it, because a PodSpec-sized schema has a thousand nodes of which few are ever used, and a
definition that refers to itself (``JSONSchemaProps``) could not be compiled otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["Resolve", "Schema", "compile_schema"]

Resolve = Callable[[str], Obj]
"""Finds a built-in definition by its full name."""

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_ENVELOPE: Final[Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"x-kubeling-ref": _OBJECT_META},
}
_LIMITS: Final = frozenset({"enum", "minLength", "maxLength", "pattern", "minimum", "maximum"})
_COMBINATIONS: Final = frozenset({"allOf", "anyOf", "oneOf", "not"})
_PYTHON_TYPES: Final[dict[str, type]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict,
    "array": list,
}
_QUANTITY: Final = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?$")


def compile_schema(schema: Obj, resolve: Resolve, *, root: bool = False) -> Schema:
    """Compiles a schema; ``root`` adds what every object has (apiVersion, kind, metadata)."""
    return Schema(schema, resolve, envelope=root)


class Schema:
    """One compiled node. The methods change objects in place and never raise for bad input."""

    def __init__(self, node: Obj, resolve: Resolve, *, envelope: bool = False) -> None:
        self._resolve = resolve
        reference = node.get("x-kubeling-ref")
        self._node: Obj = {**resolve(reference), **_own(node)} if reference else node
        self._envelope = envelope or bool(node.get(_EMBEDDED))
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
    def _defaults(self) -> list[tuple[str, Any]]:
        return [
            (name, schema._node["default"])
            for name, schema in self.properties.items()
            if "default" in schema._node
        ]

    @property
    def nullable(self) -> bool:
        return bool(self._node.get("nullable"))

    def child(self, name: str) -> Schema | None:
        """The node of a property or of a map's value, if the schema says anything about it."""
        return self.properties.get(name) or self.additional

    @property
    def type(self) -> str:
        return self._type

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
        """Fills in defaults, and drops a ``null`` where a default or nothing should be."""
        if isinstance(value, dict):
            for name, default in self._defaults:
                if value.get(name) is None and not self.properties[name].nullable:
                    value[name] = deep_copy(default)
            for name, inner in value.items():
                if inner is not None and (schema := self.child(name)) is not None:
                    schema.default(inner)
        elif isinstance(value, list) and self.items is not None:
            for inner in value:
                self.items.default(inner)

    def drop_nulls(self, value: Any) -> None:
        """Removes nulls from objects, as decoding into Go structs does for built-in kinds."""
        if isinstance(value, dict):
            for name in [name for name, inner in value.items() if inner is None]:
                del value[name]
            for name, inner in value.items():
                if (schema := self.child(name)) is not None:
                    schema.drop_nulls(inner)
        elif isinstance(value, list) and self.items is not None:
            for inner in value:
                self.items.drop_nulls(inner)

    # Pruning

    def prune(self, value: Any, path: str = "") -> list[str]:
        """Drops fields the schema does not know; returns their paths."""
        return list(self._prune(value, path))

    def _prune(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            if self._closed:
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
    def _closed(self) -> bool:
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
        if value is None or not self._fits(value):
            return False
        if isinstance(value, dict):
            return self._conforming_object(value)
        if isinstance(value, list):
            return self._conforming_list(value)
        return True

    def _conforming_object(self, value: Obj) -> bool:
        properties, additional, closed = self.properties, self.additional, self._closed
        for name, inner in value.items():
            schema = properties.get(name) or additional
            if schema is None:
                if closed:
                    return False
            elif not schema.conforms(inner):
                return False
        return next(self._object_rules(value, ""), None) is None

    def _conforming_list(self, value: list[Any]) -> bool:
        items = self.items
        if items is not None:
            for inner in value:
                if not items.conforms(inner):
                    return False
        return next(self._list_rules(value, ""), None) is None

    def _fits(self, value: Any) -> bool:
        if type(value) is not self._python_type and self._wrong_type(value, "") is not None:
            return False
        if self._limited and next(self._limits(value, ""), None) is not None:
            return False
        return not self._combining or next(self._combined(value, ""), None) is None

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
        if self._limited:
            yield from self._limits(value, path)
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
    def _limited(self) -> bool:
        return not _LIMITS.isdisjoint(self._node)

    @cached_property
    def _combining(self) -> bool:
        return not _COMBINATIONS.isdisjoint(self._node)

    def _wrong_type(self, value: Any, path: str) -> FieldError | None:
        found = _type_of(value)
        if self._node.get(_INT_OR_STRING):
            if self._node.get("x-kubeling-format") == "quantity":
                return _wrong_quantity(value, path)
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

    def _limits(self, value: Any, path: str) -> Iterator[FieldError]:
        node = self._node
        if "enum" in node and value not in node["enum"]:
            listed = ", ".join(f'"{choice}"' for choice in node["enum"])
            yield FieldError(path, "Unsupported value", f"supported values: {listed}", value)
        if isinstance(value, str):
            yield from self._text_limits(value, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from self._number_limits(value, path)

    def _text_limits(self, value: str, path: str) -> Iterator[FieldError]:
        node = self._node
        if len(value) < node.get("minLength", 0):
            message = f"{path} in body should be at least {node['minLength']} chars long"
            yield FieldError(path, "Invalid value", message, value)
        if "maxLength" in node and len(value) > node["maxLength"]:
            yield FieldError(path, "Too long", f"may not be more than {node['maxLength']} bytes")
        if "pattern" in node and not re.search(node["pattern"], value):
            message = f"{path} in body should match '{node['pattern']}'"
            yield FieldError(path, "Invalid value", message, value)

    def _number_limits(self, value: float, path: str) -> Iterator[FieldError]:
        node = self._node
        if "minimum" in node and (
            value < node["minimum"] or (node.get("exclusiveMinimum") and value == node["minimum"])
        ):
            relation = (
                "greater than" if node.get("exclusiveMinimum") else "greater than or equal to"
            )
            message = f"{path} in body should be {relation} {node['minimum']}"
            yield FieldError(path, "Invalid value", message, value)
        if "maximum" in node and (
            value > node["maximum"] or (node.get("exclusiveMaximum") and value == node["maximum"])
        ):
            relation = "less than" if node.get("exclusiveMaximum") else "less than or equal to"
            message = f"{path} in body should be {relation} {node['maximum']}"
            yield FieldError(path, "Invalid value", message, value)

    def _object(self, value: Obj, path: str) -> Iterator[FieldError]:
        yield from self._object_rules(value, path)
        for name, inner in value.items():
            if (schema := self.child(name)) is not None:
                yield from schema._validate(inner, _join(path, name))

    def _object_rules(self, value: Obj, path: str) -> Iterator[FieldError]:
        for name in self._node.get("required") or ():
            if name not in value:
                yield FieldError(_join(path, name), "Required value", "")
        if "minProperties" in self._node and len(value) < self._node["minProperties"]:
            message = (
                f"{path} in body should have at least {self._node['minProperties']} properties"
            )
            yield FieldError(path, "Invalid value", message, len(value))

    def _list(self, value: list[Any], path: str) -> Iterator[FieldError]:
        yield from self._list_rules(value, path)
        if self.items is not None:
            for index, inner in enumerate(value):
                yield from self.items._validate(inner, f"{path}[{index}]")

    def _list_rules(self, value: list[Any], path: str) -> Iterator[FieldError]:
        node = self._node
        if len(value) < node.get("minItems", 0):
            message = f"{path} in body should have at least {node['minItems']} items"
            yield FieldError(path, "Invalid value", message, len(value))
        if "maxItems" in node and len(value) > node["maxItems"]:
            yield FieldError(
                path, "Too many", f"must have at most {node['maxItems']} items", len(value)
            )
        yield from self._duplicates(value, path)

    def _duplicates(self, value: list[Any], path: str) -> Iterator[FieldError]:
        kind = self._node.get("x-kubernetes-list-type")
        keys = self._node.get("x-kubernetes-list-map-keys") or ()
        if kind not in ("set", "map") or "x-kubernetes-patch-strategy" in self._node:
            return
        seen: list[Any] = []
        for index, item in enumerate(value):
            mark = item
            if kind == "map":
                if not isinstance(item, dict):
                    continue
                mark = {key: item.get(key) for key in keys}
            if mark in seen:
                yield FieldError(f"{path}[{index}]", "Duplicate value", "", mark)
            seen.append(mark)

    def _combined(self, value: Any, path: str) -> Iterator[FieldError]:
        for branch in self._branches.get("allOf", ()):
            yield from branch._validate(value, path)
        for key, most in (("anyOf", None), ("oneOf", 1)):
            branches = self._branches.get(key)
            if not branches:
                continue
            fitting = sum(not branch.validate(value, path) for branch in branches)
            if fitting == 0 or (most is not None and fitting > most):
                message = f"{path or '<root>'} in body must validate one schema ({key})"
                yield FieldError(path, "Invalid value", message)
        if "not" in self._node and not Schema(self._node["not"], self._resolve).validate(value):
            yield FieldError(
                path, "Invalid value", f"{path} in body must not validate the schema (not)"
            )


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


def _wrong_quantity(value: Any, path: str) -> FieldError | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    if isinstance(value, str) and _QUANTITY.match(value):
        return None
    message = "quantities must match the regular expression '" + _QUANTITY.pattern + "'"
    return FieldError(path, "Invalid value", message, value)
