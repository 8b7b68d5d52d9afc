"""The shape of every kind: its schema, and for built-in kinds what no schema says.

Schemas are compiled when a kind is first used, so starting the server compiles none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.decoding import mistyped
from kubeling.apiserver.defaults import set_defaults
from kubeling.apiserver.schema import Schema, compile_schema
from kubeling.apiserver.schemarules import states_rules
from kubeling.apiserver.served import Findings, Settled
from kubeling.apiserver.validation import validate_builtin
from kubeling.kube.crd import portable
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from kubeling.apiserver.schemarules.tree import RuleTree

__all__ = ["BuiltinShape", "CustomShape", "CustomShapes", "custom_shape"]


class BuiltinShape:
    """A built-in kind: nulls count as absent, and Go code knows the defaults and the rules."""

    def __init__(self, definition: str) -> None:
        self._definition = definition
        self._kind = definition.rsplit(".", 1)[-1]

    @cached_property
    def merge_schema(self) -> Schema:
        return compile_schema(definition_schema(self._definition), definition_schema, root=True)

    def decode(self, obj: Obj) -> str:
        schema = self.merge_schema
        if schema.conforms(obj):
            return ""
        wrong = mistyped(schema, obj, self._kind)
        if not wrong:
            schema.normalise(obj)
        return wrong

    def settle(self, new: Obj, old: Obj | None) -> Settled:
        schema = self.merge_schema
        if old is not None and _same_but_metadata(new, old):
            # What is in shape stays so, because these schemas never change while we run.
            metadata = schema.child("metadata")
            if metadata is None or metadata.conforms(new["metadata"]):
                return Settled([], [])
        if _conforms(schema, new, old):
            set_defaults(new)
            return Settled([], validate_builtin(new, old))
        unknown = schema.prune(new)
        # The rules read fields as their types say, so types come first.
        if wrong := mistyped(schema, new, self._kind):
            return Settled(unknown, [], wrong)
        schema.normalise(new)
        set_defaults(new)
        return Settled(unknown, schema.validate(new) or validate_builtin(new, old))

    def settle_status(self, status: Any) -> Settled:
        schema = self.merge_schema.child("status")
        if schema is None or schema.conforms(status):
            return Settled([], [])
        unknown = schema.prune(status, "status")
        if wrong := mistyped(schema, status, self._kind, ("status",)):
            return Settled(unknown, [], wrong)
        schema.normalise(status)
        return Settled(unknown, schema.validate(status, "status"))

    def check_rules(self, new: Obj, old: Obj | None) -> Findings:
        return Findings([], [])


def _conforms(schema: Schema, new: Obj, old: Obj | None) -> bool:
    """Whether an object conforms; of one that did, only what has changed is looked at."""
    if old is None or new.keys() != old.keys():
        return schema.conforms(new)
    return all(
        value == old[name] or ((part := schema.child(name)) is not None and part.conforms(value))
        for name, value in new.items()
    )


class CustomShape:
    """A custom kind: its definition's schema says everything."""

    def __init__(self, schema: Obj, preserve: bool) -> None:
        self.source = schema
        """The schema as written, built-in types by name."""
        self._preserve = preserve

    @cached_property
    def merge_schema(self) -> Schema:
        return compile_schema(self.source, definition_schema, root=True)

    def decode(self, obj: Obj) -> str:
        return ""

    def settle(self, new: Obj, old: Obj | None) -> Settled:
        return self._settled(self.merge_schema, new, "")

    def settle_status(self, status: Any) -> Settled:
        schema = self.merge_schema.child("status")
        return self._settled(schema, status, "status") if schema else Settled([], [])

    @cached_property
    def _rules(self) -> RuleTree | None:
        if not states_rules(self.source):
            return None
        from kubeling.apiserver.schemarules.tree import RuleTree

        return RuleTree(self.source)

    def check_rules(self, new: Obj, old: Obj | None) -> Findings:
        return Findings([], []) if self._rules is None else self._rules.check(new, old)

    def _settled(self, schema: Schema, value: Any, path: str) -> Settled:
        conforms = schema.conforms(value)
        unknown = [] if conforms or self._preserve else schema.prune(value, path)
        schema.default(value)
        return Settled(unknown, [] if conforms else schema.validate(value, path))


def custom_shape(definition: Obj, version: Obj) -> CustomShape:
    """The shape of one version of a definition."""
    preserve = bool(definition["spec"].get("preserveUnknownFields"))
    return CustomShape(version["schema"]["openAPIV3Schema"], preserve)


_NONE: Final[tuple[Obj, Obj]] = ({}, {})


class CustomShapes:
    """The shapes of definitions, given those that components brought along.

    Components name the built-in types that their fields hold, which no stored definition can say.
    What they know counts for as long as the stored one is theirs otherwise. ``portable`` are the
    definitions as they can be stored.
    """

    def __init__(self, definitions: Sequence[Obj]) -> None:
        self.portable: list[Obj] = [portable(definition) for definition in definitions]
        self._schemas = {
            (plain["metadata"]["name"], stored["name"]): (stored["schema"], known["schema"])
            for plain, definition in zip(self.portable, definitions, strict=True)
            for stored, known in zip(
                plain["spec"]["versions"], definition["spec"]["versions"], strict=True
            )
        }

    def of(self, definition: Obj, version: Obj) -> CustomShape:
        """The shape of one version of a definition."""
        stored, known = self._schemas.get((definition["metadata"]["name"], version["name"]), _NONE)
        if stored == version["schema"]:
            version = {**version, "schema": known}
        return custom_shape(definition, version)


def _same_but_metadata(new: Obj, old: Obj) -> bool:
    """Whether a kind's rules have nothing to judge; those with a spec judge no metadata."""
    return (
        "spec" in new
        and new.keys() == old.keys()
        and all(new[section] == old[section] for section in new if section != "metadata")
    )
