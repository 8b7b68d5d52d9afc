"""The shape of every kind: its schema, and for built-in kinds what no schema says.

Schemas are compiled when a kind is first used, so starting the server compiles none.
"""

from __future__ import annotations

from functools import cached_property

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.defaults import set_defaults
from kubeling.apiserver.schema import Schema, compile_schema
from kubeling.apiserver.validation import validate_builtin
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["BuiltinShape", "CustomShape", "custom_shape"]


class BuiltinShape:
    """A built-in kind: nulls count as absent, and Go code knows the defaults and the rules."""

    def __init__(self, definition: str) -> None:
        self._definition = definition

    @cached_property
    def merge_schema(self) -> Schema:
        return compile_schema(definition_schema(self._definition), definition_schema, root=True)

    def default(self, obj: Obj) -> None:
        self.merge_schema.drop_nulls(obj)
        set_defaults(obj)

    def prune(self, obj: Obj) -> list[str]:
        return self.merge_schema.prune(obj)

    def validate(self, new: Obj, old: Obj | None) -> list[FieldError]:
        # The rules read fields as their types say, so types come first.
        return self.merge_schema.validate(new) or validate_builtin(new, old)


class CustomShape:
    """A custom kind: its definition's schema says everything."""

    def __init__(self, schema: Obj, preserve: bool) -> None:
        self._source = schema
        self._preserve = preserve

    @cached_property
    def merge_schema(self) -> Schema:
        return compile_schema(self._source, definition_schema, root=True)

    def default(self, obj: Obj) -> None:
        self.merge_schema.default(obj)

    def prune(self, obj: Obj) -> list[str]:
        return [] if self._preserve else self.merge_schema.prune(obj)

    def validate(self, new: Obj, old: Obj | None) -> list[FieldError]:
        return self.merge_schema.validate(new)


def custom_shape(definition: Obj, version: Obj) -> CustomShape:
    """The shape of one version of a definition."""
    preserve = bool(definition["spec"].get("preserveUnknownFields"))
    return CustomShape(version["schema"]["openAPIV3Schema"], preserve)
