"""Structural schemas: what is unknown, missing or wrong is named by its path."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.types import definition_schema, definitions
from kubeling.apiserver.schema import Schema, compile_schema

POD = compile_schema({"x-kubeling-ref": "io.k8s.api.core.v1.Pod"}, definition_schema, root=True)


def schema(**node: Any) -> Schema:
    return compile_schema({"type": "object", "properties": node}, definition_schema)


def texts(found: list[Any]) -> list[str]:
    return [str(error) for error in found]


def test_unknown_fields_are_dropped_and_named() -> None:
    pod = {"kind": "Pod", "spec": {"containers": [{"name": "a", "imagee": "x"}], "volumez": 1}}
    assert sorted(POD.prune(pod)) == ["spec.containers[0].imagee", "spec.volumez"]
    assert pod["spec"] == {"containers": [{"name": "a"}]}


def test_a_wrong_type_reads_as_kubernetes_says_it() -> None:
    errors = schema(replicas={"type": "integer"}).validate({"replicas": "two"})
    assert texts(errors) == [
        'replicas: Invalid value: "string": replicas in body must be of type integer: "string"'
    ]


def test_missing_fields_enums_bounds_and_patterns() -> None:
    node = compile_schema(
        {
            "type": "object",
            "required": ["name"],
            "properties": {
                "kind": {"type": "string", "enum": ["a", "b"]},
                "count": {"type": "integer", "minimum": 1, "maximum": 3},
                "word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4},
                "some": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            },
        },
        definition_schema,
    )
    errors = texts(node.validate({"kind": "c", "count": 9, "word": "ABCDE", "some": []}))
    assert 'kind: Unsupported value: "c": supported values: "a", "b"' in errors
    assert "name: Required value" in errors
    assert any(e.startswith("count: Invalid value: 9:") for e in errors)
    assert "word: Too long: may not be more than 4 bytes" in errors
    assert any("should match '^[a-z]+$'" in e for e in errors)
    assert any("at least 1 items" in e for e in errors)


def test_defaults_fill_what_is_absent_at_every_depth() -> None:
    node = schema(
        outer={
            "type": "object",
            "properties": {"inner": {"type": "integer", "default": 3}},
        },
        mode={"type": "string", "default": "x"},
    )
    value: dict[str, Any] = {"outer": {}, "mode": None}
    node.default(value)
    assert value == {"outer": {"inner": 3}, "mode": "x"}


def test_quantities_are_checked() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "100m", "memory": "1x"}}}
    errors = texts(POD.validate({"spec": {"containers": [container]}}))
    assert len(errors) == 1
    assert errors[0].startswith("spec.containers[0].resources.limits.memory: Invalid value")


def one(node: dict[str, Any], value: Any) -> list[str]:
    return texts(schema(x=node).validate({"x": value}))


@pytest.mark.parametrize(
    ("format", "fine", "wrong"),
    [
        ("date-time", "2026-01-01T00:00:00Z", "yesterday"),
        ("date-time", "2026-01-01T00:00:00.123456789+02:00", "2026-01-01"),
        ("date", "2026-01-01", "1.1.2026"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("uri", "https://example.com/x", "example"),
        ("email", "a@example.com", "a"),
        ("whatever", "anything", None),
    ],
)
def test_formats(format: str, fine: str, wrong: str | None) -> None:
    node = {"type": "string", "format": format}
    assert one(node, fine) == []
    if wrong is not None:
        message = f'x: Invalid value: "{wrong}": x in body must be of type {format}: "{wrong}"'
        assert one(node, wrong) == [message]


def test_bytes_that_are_not_base64_are_refused_and_not_repeated() -> None:
    node = {"type": "string", "format": "byte"}
    assert one(node, "aGkK\n") == []
    assert one(node, "hunter2!") == [
        "x: Invalid value: x in body must be of type byte: it is not base64"
    ]


def test_numbers() -> None:
    assert one({"type": "integer", "multipleOf": 5}, 10) == []
    assert one({"type": "integer", "multipleOf": 5}, 11) == [
        "x: Invalid value: 11: x in body should be a multiple of 5"
    ]
    assert one({"type": "integer", "format": "int32"}, 2**31) != []
    assert one({"type": "integer"}, 3.0) == []
    assert one({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0) == [
        "x: Invalid value: 0: x in body should be greater than 0"
    ]


def test_patterns_mean_what_they_mean_in_go() -> None:
    assert one({"type": "string", "pattern": "^[a-z]+$"}, "abc\n") != []
    assert one({"type": "string", "pattern": r"^a\z"}, "a") == []
    assert one({"type": "string", "pattern": "^[$]$"}, "$") == []
    assert one({"type": "string", "pattern": r"^\pL+$"}, "what Python cannot say") == []


def test_combinations() -> None:
    either = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}
    assert one(either, {"a": 1}) == []
    begin = 'x: Invalid value: "": "x" must validate one and only one schema (oneOf). Found '
    assert one(either, {}) == [begin + "none valid"]
    assert one(either, {"a": 1, "b": 1}) == [begin + "2 valid alternatives"]
    assert one({"not": {"required": ["a"]}}, {"a": 1}) == [
        'x: Invalid value: "": "x" must not validate the schema (not)'
    ]
    assert one({"anyOf": [{"type": "integer"}, {"type": "string"}]}, True) != []


def test_integers_or_strings_are_no_other_type() -> None:
    node = {"x-kubernetes-int-or-string": True}
    assert one(node, 80) == one(node, "http") == []
    assert one(node, True) == [
        'x: Invalid value: "boolean": x in body must be of type integer,string: "boolean"'
    ]


def test_items_of_sets_and_keyed_lists_are_told_apart() -> None:
    words = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    assert one(words, ["a", "b", "a"]) == ['x[2]: Duplicate value: "a"']
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
    }
    assert one(keyed, [{"name": "a"}, {"name": "a"}]) == ['x[1]: Duplicate value: {"name":"a"}']


def test_a_null_counts_as_absent_unless_it_is_allowed() -> None:
    node = schema(
        plain={"type": "string"},
        nullable={"type": "string", "nullable": True},
        free={"x-kubernetes-preserve-unknown-fields": True},
        filled={"type": "integer", "default": 1},
    )
    value: dict[str, Any] = {"plain": None, "nullable": None, "free": None, "filled": None}
    node.default(value)
    assert value == {"nullable": None, "free": None, "filled": 1}
    assert node.validate(value) == []


def test_an_embedded_object_says_what_it_is() -> None:
    node = schema(
        inner={
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        }
    )
    assert texts(node.validate({"inner": {"spec": {}}})) == [
        "inner.apiVersion: Required value: must not be empty",
        "inner.kind: Required value: must not be empty",
    ]
    assert node.conforms({"inner": {"apiVersion": "v1", "kind": "A"}})
    assert not node.conforms({"inner": {"kind": "A"}})


def test_an_embedded_object_keeps_its_metadata_and_no_more() -> None:
    node = schema(
        inner={
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"spec": {"type": "object"}},
        }
    )
    inner = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "nope": 1}, "other": 1}
    value = {"inner": inner}
    assert sorted(node.prune(value)) == ["inner.metadata.nope", "inner.other"]


def test_the_claims_of_a_stateful_set_are_whole_objects() -> None:
    node = compile_schema(
        {"x-kubeling-ref": "io.k8s.api.apps.v1.StatefulSetSpec"}, definition_schema
    )
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    assert node.prune({"volumeClaimTemplates": [claim]}) == []


def test_preserved_fields_are_kept_unless_a_type_is_named() -> None:
    free = schema(any={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    value = {"any": {"x": {"y": 1}}}
    assert free.prune(value) == []
    typed = schema(
        template={
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "x-kubeling-ref": "io.k8s.api.core.v1.PodTemplateSpec",
        }
    )
    assert typed.prune({"template": {"spec": {"container": []}}}) == ["template.spec.container"]


def test_every_built_in_definition_compiles_and_accepts_nothing_extra() -> None:
    for name in definitions():
        compiled = compile_schema({"x-kubeling-ref": name}, definition_schema)
        if definition_schema(name)["type"] != "object":
            continue  # a list has no fields
        value = {"surely-unknown": 1}
        compiled.prune(value)
        assert value == {}, name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "containers", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "status", "zz"]), JSON, max_size=4))
def test_no_input_whatever_breaks_the_engine(value: dict[str, Any]) -> None:
    POD.prune(value)
    POD.normalise(value)
    POD.default(value)
    POD.validate(value)
    assert POD.prune(value) == [], "what pruning leaves is known"


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "status", "zz"]), JSON, max_size=4))
def test_an_object_conforms_if_and_only_if_no_pass_finds_anything(value: dict[str, Any]) -> None:
    passed = copy.deepcopy(value)
    conforms = POD.conforms(value)
    unknown = POD.prune(passed)
    POD.normalise(passed)
    found = unknown or POD.validate(passed) or passed != value
    assert conforms == (not found)


def test_amounts_are_written_as_a_cluster_gives_them_back() -> None:
    resources = {"limits": {"nvidia.com/gpu": 1, "memory": "1024Mi"}, "requests": {"cpu": 0.5}}
    value = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
    assert not POD.conforms(value)
    POD.normalise(value)
    assert resources == {
        "limits": {"nvidia.com/gpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m"},
    }
    assert POD.conforms(value)
