"""Whether a manifest can be applied at all: its fields are declared, its items told apart.

Fields are owned as the schema knows them and items by their keys. So an unknown field is an error
here, whatever ``fieldValidation`` says, and so are two items with the same keys: of which one would
the applier be the owner? Source: ``typed.AsTyped`` of structured-merge-diff, whose words these are;
upstream answers 500, as if the server were at fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeling.apiserver.fieldtrees import element_of
from kubeling.apiserver.managers import readable
from kubeling.apiserver.schema import Schema
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["check_applied"]


def check_applied(applied: Obj, schema: Schema | None) -> None:
    """Raises :class:`BadRequest` naming the first fields and items that cannot have an owner."""
    if schema is None or not (wrong := list(_wrong(applied, schema, ""))):
        return
    metadata = applied["metadata"]
    named = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    whose = f"{named}; {applied['apiVersion']}, Kind={applied['kind']}"
    listed = wrong[0] if len(wrong) == 1 else "errors:\n  " + "\n  ".join(wrong)
    raise BadRequest(f"failed to create typed patch object ({whose}): {listed}")


def _wrong(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            child = schema.child(name)
            if child is not None:
                yield from _wrong(inner, child, f"{path}.{name}")
            elif schema.closed:
                yield f"{path}.{name}: field not declared in schema"
    elif isinstance(value, list) and schema.items is not None:
        if schema.list_type in ("map", "set"):
            yield from _repeated(value, schema, path)
        for index, inner in enumerate(value):
            element = element_of(inner, schema) if schema.list_type == "map" else None
            where = readable((element,)) if element else f"[{index}]"
            yield from _wrong(inner, schema.items, path + where)


def _repeated(items: list[Any], schema: Schema, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        element = element_of(item, schema)
        if element is None:
            listed = ", ".join(f'"{key}"' for key in schema.list_keys)
            yield (
                f"{path}: element {index}: associative list with keys has an element that omits "
                f"key field {listed} (and doesn't have default value)"
            )
        elif element in seen:
            yield f"{path}: duplicate entries for key {readable((element,))}"
        else:
            seen.add(element)
