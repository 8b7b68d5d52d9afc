"""Structural schemas: what is unknown, missing or wrong is named by its path."""

from typing import Any

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
    POD.drop_nulls(value)
    POD.default(value)
    POD.validate(value)
    assert POD.prune(value) == [], "what pruning leaves is known"
