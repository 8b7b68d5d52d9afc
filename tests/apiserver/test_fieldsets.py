"""Sets of fields: the quick ways of finding and spelling them agree with the plain ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.fieldsets import (
    decode_fields,
    differences,
    encode_fields,
    field_set,
    owns,
    stated_fields,
    value_at,
)
from kubeling.apiserver.schema import compile_schema

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


@given(SPECS)
def test_fields_are_spelled_the_same_both_ways(spec: Any) -> None:
    obj = thing(spec)
    paths = field_set(obj, SCHEMA)
    assert stated_fields(obj, SCHEMA) == encode_fields(paths)
    assert decode_fields(encode_fields(paths)) == paths
    assert all(owns(encode_fields(paths), path) for path in paths)


@given(SPECS, SPECS)
def test_differences_are_those_of_the_whole_sets(before: Any, after: Any) -> None:
    old, new = thing(before), thing(after, "2")
    had, has = field_set(old, SCHEMA), field_set(new, SCHEMA)
    changed = {
        p for p in has if p not in had or value_at(old, p, SCHEMA) != value_at(new, p, SCHEMA)
    }
    assert differences(old, new, SCHEMA) == (changed, had - has)
