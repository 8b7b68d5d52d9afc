"""The table of built-in types: every kind that is served is known down to its last field."""

import pytest

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES, BuiltinResource
from kubeling.apiserver.builtin.types import (
    META,
    definition_schema,
    definitions,
    fields,
    has,
    wire_fields,
)

CORE = "io.k8s.api.core.v1"


@pytest.mark.parametrize("entry", BUILTIN_RESOURCES, ids=lambda entry: entry.definition)
def test_every_resource_has_a_type(entry: BuiltinResource) -> None:
    assert has(entry.definition)
    assert fields(entry.definition)["metadata"].type == f"{META}.ObjectMeta"


def test_every_type_a_field_names_is_there() -> None:
    for definition in definitions():
        for name, field in wire_fields(definition).items():
            known = "." not in field.type or field.type.startswith("any:") or has(field.type)
            assert known, f"{definition}.{name}"


def test_plural_names_and_short_names_are_told_apart_within_a_group() -> None:
    names = [
        (entry.resource.api_version, name)
        for entry in BUILTIN_RESOURCES
        for name in (entry.resource.plural, *entry.resource.short_names)
    ]
    assert len(names) == len(set(names))


def test_what_json_has_inline_protobuf_has_as_a_field_of_its_own() -> None:
    assert "volumeSource" in wire_fields(f"{CORE}.Volume")
    assert fields(f"{CORE}.Volume").keys() >= {"name", "emptyDir", "configMap"}
    assert "volumeSource" not in fields(f"{CORE}.Volume")


def test_facts_that_merging_and_applying_need() -> None:
    containers = fields(f"{CORE}.PodSpec")["containers"]
    assert containers.required
    assert (containers.merge_key, containers.patch_strategy) == ("name", "merge")
    assert (containers.list_type, containers.list_keys) == ("map", ("name",))
    ports = fields(f"{CORE}.Container")["ports"]
    assert ports.list_keys == ("containerPort", "protocol")
    assert fields(f"{CORE}.ContainerPort")["protocol"].default == "TCP"
    assert fields(f"{CORE}.PodSpec")["nodeSelector"].atomic
    assert fields(f"{META}.ObjectMeta")["finalizers"].list_type == "set"


def test_a_zero_is_told_from_nothing_where_that_makes_a_difference() -> None:
    assert fields("io.k8s.api.apps.v1.DeploymentSpec")["replicas"].pointer
    assert not fields(f"{CORE}.ContainerPort")["hostPort"].pointer


def test_schemas_refer_to_each_other() -> None:
    properties = definition_schema(f"{CORE}.Pod")["properties"]
    assert properties["spec"] == {"x-kubeling-ref": f"{CORE}.PodSpec"}
    assert definition_schema(f"{CORE}.PodSpec")["required"] == ["containers"]
