"""Sets of fields: the quick ways of finding and spelling them agree with the plain ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.fieldsets import (
    FieldSet,
    Path,
    decode_fields,
    encode_fields,
    field_set,
    owns,
    value_at,
)
from kubeling.apiserver.fieldtrees import (
    changed_fields,
    element_of,
    stated_fields,
    with_fields,
    without_fields,
)
from kubeling.apiserver.schema import Schema, compile_schema

SCHEMA = compile_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer"},
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "x-kubernetes-list-type": "set",
                    },
                    "ports": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "name": {"type": "string"},
                                "number": {"type": "integer"},
                            },
                        },
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                    },
                    "steps": {"type": "array", "items": {"type": "string"}},
                    "whole": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "x-kubernetes-map-type": "atomic",
                    },
                    "notes": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }
        },
    },
    definition_schema,
    root=True,
)
WORDS = st.sampled_from("abc")
PORTS = st.lists(
    st.fixed_dictionaries({"name": WORDS}, optional={"number": st.integers(0, 2)}),
    max_size=3,
    unique_by=lambda port: port["name"],
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(0, 2),
        "tags": st.lists(WORDS, unique=True, max_size=3),
        "ports": PORTS,
        "steps": st.lists(WORDS, max_size=2),
        "whole": st.dictionaries(WORDS, WORDS, max_size=2),
        "notes": st.dictionaries(WORDS, WORDS, max_size=2),
    },
)


def thing(spec: Any, version: str = "1") -> dict[str, Any]:
    metadata = {"name": "t", "resourceVersion": version, "labels": {"a": version}}
    return {"apiVersion": "x/v1", "kind": "Thing", "metadata": metadata, "spec": spec}


def spelled_out(obj: dict[str, Any]) -> FieldSet:
    """The plain way: every path of an object, one by one."""
    found: set[Path] = set()

    def walk(value: Any, schema: Schema | None, path: Path) -> None:
        if isinstance(value, dict) and value and not (schema and schema.atomic):
            for name, inner in value.items():
                walk(inner, schema.child(name) if schema else None, (*path, f"f:{name}"))
        elif isinstance(value, list) and value and schema and schema.list_type != "atomic":
            for item in value:
                here = (*path, str(element_of(item, schema)))
                found.add(here)
                if isinstance(item, dict):
                    for name, inner in item.items():
                        below = schema.items.child(name) if schema.items else None
                        walk(inner, below, (*here, f"f:{name}"))
        else:
            found.add(path)

    for name in ("metadata", "spec"):
        walk(obj[name], SCHEMA.child(name), (f"f:{name}",))
    return frozenset(found - {("f:metadata", f"f:{name}") for name in ("name", "resourceVersion")})


@given(SPECS)
def test_fields_are_spelled_the_same_both_ways(spec: Any) -> None:
    obj = thing(spec)
    paths = field_set(obj, SCHEMA)
    assert paths == spelled_out(obj)
    assert stated_fields(obj, SCHEMA) == encode_fields(paths)
    assert all(owns(encode_fields(paths), path) for path in paths)


@given(SPECS, SPECS)
def test_differences_are_those_of_the_whole_sets(before: Any, after: Any) -> None:
    old, new = thing(before), thing(after, "2")
    had, has = field_set(old, SCHEMA), field_set(new, SCHEMA)
    changed = {
        p for p in has if p not in had or value_at(old, p, SCHEMA) != value_at(new, p, SCHEMA)
    }
    found = changed_fields(old, new, SCHEMA)
    assert [decode_fields(tree) for tree in found] == [changed, had - has]


@given(SPECS, SPECS)
def test_fields_are_added_and_taken_away_as_sets_are(some: Any, others: Any) -> None:
    these, those = field_set(thing(some), SCHEMA), field_set(thing(others, "2"), SCHEMA)
    fields, more = encode_fields(these), encode_fields(those)
    assert with_fields(fields, more) == encode_fields(these | those)
    assert without_fields(fields, more) == encode_fields(these - those)
    assert (fields, more) == (encode_fields(these), encode_fields(those))
