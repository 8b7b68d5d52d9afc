"""What a CustomResourceDefinition may say, and what its conditions say of it."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.definitionrules import definition_errors
from kubeling.component import Component, load_components
from kubeling.kube import yaml
from kubeling.kube.crd import portable
from kubeling.kube.errors import Invalid, NotFound
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

CASES = yaml.load(Path(__file__).with_name("definition_cases.yaml").read_text())
FOOS = Resource("example.org", "v1", "Foo", "foos")
BARS = Resource("example.org", "v1", "Bar", "bars")


def definition(
    spec: Obj | None = None, *, plural: str = "foos", kind: str = "Foo", **more: Any
) -> Obj:
    """A definition with one version; ``spec`` is the schema of its objects' spec."""
    schema = {"type": "object", "properties": {"spec": spec or {"type": "object"}}}
    version = {"name": "v1", "served": True, "storage": True, **more.pop("version", {})}
    version.setdefault("schema", {"openAPIV3Schema": more.pop("schema", schema)})
    names = {"plural": plural, "kind": kind, **more.pop("names", {})}
    group = more.pop("group", "example.org")
    return new_object(
        CUSTOM_RESOURCE_DEFINITIONS,
        f"{plural}.{group}",
        spec={"group": group, "scope": "Namespaced", "names": names, "versions": [version], **more},
    )


def wrong(obj: Obj, old: Obj | None = None) -> list[str]:
    """What is wrong, without the way to the schema of the spec."""
    at = "spec.versions[0]."
    schema = "schema.openAPIV3Schema.properties[spec]"
    found = [str(error).replace(at, "", 1) for error in definition_errors(obj, old)]
    return [error.replace(schema, "", 1) for error in found]


@pytest.mark.parametrize("case", CASES["specs"], ids=lambda case: case["error"])
def test_a_schema_is_structural(case: Obj) -> None:
    found = wrong(definition(case["schema"]))
    assert [one for one in found if one.startswith(case["error"])], found


@pytest.mark.parametrize(
    "spec",
    [
        {"x-kubernetes-int-or-string": True},
        {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        {"type": "string", "nullable": True, "default": "x", "pattern": r"^\pL+$"},
        {"type": "integer", "not": {"minimum": 3}, "allOf": [{"maximum": 9}]},
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a", "b"],
            "items": {
                "type": "object",
                "required": ["a"],
                "properties": {"a": {"type": "string"}, "b": {"type": "string", "default": "x"}},
            },
        },
    ],
)
def test_what_the_structure_can_say(spec: Obj) -> None:
    assert wrong(definition(spec)) == []


@pytest.mark.parametrize("case", CASES["schemas"], ids=lambda case: case["error"])
def test_the_root_is_an_object_whose_metadata_is_known(case: Obj) -> None:
    found = wrong(definition(schema=case["schema"]))
    assert [one for one in found if one.startswith(case["error"])], found


@pytest.mark.parametrize("case", CASES["definitions"], ids=lambda case: case["error"])
def test_names_columns_and_paths(case: Obj) -> None:
    found = wrong(definition(**copy.deepcopy(case["arguments"])))
    assert [one for one in found if one.startswith(case["error"])], found


def test_a_schema_that_stays_as_it_is_stays_accepted() -> None:
    old = definition({"type": "object", "$ref": "#/x"})
    new = copy.deepcopy(old)
    new["spec"]["names"]["shortNames"] = ["f"]
    assert wrong(new, old) == []


def test_a_version_in_which_objects_are_kept_cannot_go() -> None:
    old = definition()
    old["status"] = {"storedVersions": ["v1"]}
    new = definition(version={"name": "v2"})
    assert [one for one in wrong(new, old) if one.startswith("status.storedVersions[0]")]


KEYWORDS = st.sampled_from(
    ["type", "items", "properties", "additionalProperties", "anyOf", "not", "default", "enum",
     "pattern", "required", "nullable", "x-kubernetes-list-type", "x-kubernetes-map-type",
     "x-kubernetes-list-map-keys", "x-kubernetes-embedded-resource", "metadata", "a"]
)  # fmt: skip
SCHEMAS = st.recursive(
    st.sampled_from([{"type": "string"}, {"type": "object"}, {}, {"type": "integer"}]),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "x"]),
            "items": inner,
            "properties": st.dictionaries(KEYWORDS, inner, max_size=3),
            "additionalProperties": inner | st.booleans(),
            "anyOf": st.lists(inner, max_size=2),
            "not": inner,
            "default": st.none() | st.integers() | st.dictionaries(KEYWORDS, st.none()),
            "pattern": st.text(max_size=4),
            "required": st.lists(KEYWORDS, max_size=2),
            "x-kubernetes-list-type": st.sampled_from(["set", "map", "atomic", "x"]),
            "x-kubernetes-list-map-keys": st.lists(KEYWORDS, max_size=2),
            "x-kubernetes-embedded-resource": st.booleans(),
        },
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SCHEMAS)
def test_any_schema_is_accepted_or_refused_in_words(schema: Obj) -> None:
    assert all(isinstance(error, str) for error in wrong(definition(schema)))


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


def conditions(obj: Obj) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}


async def test_a_name_that_is_taken_keeps_a_definition_waiting(running: RunningServer) -> None:
    client = running.client
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(names={"shortNames": ["fo"]}))
    bars = definition(plural="bars", kind="Bar", names={"shortNames": ["fo"]})
    made = await client.create(CUSTOM_RESOURCE_DEFINITIONS, bars)
    assert conditions(made) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert "shortNames" not in made["status"]["acceptedNames"]
    with pytest.raises(NotFound):
        await client.list(BARS)
    watch = client.watch(CUSTOM_RESOURCE_DEFINITIONS, fields="metadata.name=bars.example.org")
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "foos.example.org")
    async for event in watch:
        if event.type == "MODIFIED":
            assert conditions(event.object)["NamesAccepted"] == ("True", "NoConflicts")
            assert conditions(event.object)["Established"][0] == "True"
            break
    assert (await client.list(BARS)).items == []


async def test_the_names_of_built_in_kinds_are_taken(running: RunningServer) -> None:
    obj = definition(group="apps", plural="things", kind="Deployment")
    with pytest.raises(Invalid, match="at least one dot"):
        await running.client.create(CUSTOM_RESOURCE_DEFINITIONS, obj)
    obj = definition(group="coordination.k8s.io", plural="things", kind="Lease")
    obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, for a test"}
    made = await running.client.create(CUSTOM_RESOURCE_DEFINITIONS, obj)
    assert conditions(made)["NamesAccepted"] == ("False", "ListKindConflict")


async def test_users_of_a_deprecated_version_are_told(running: RunningServer) -> None:
    from kubeling.apiserver.requests import ApiRequest, ObjectAnswer
    from kubeling.apiserver.user import ADMIN

    for warning, told in (
        (None, "example.org/v1 Foo is deprecated"),
        ("use v2", "use v2"),
    ):
        version = {"deprecated": True} | ({"deprecationWarning": warning} if warning else {})
        obj = definition(version=version)
        await running.client.apply(CUSTOM_RESOURCE_DEFINITIONS, obj, force=True)
        answer = await running.server.handle(ApiRequest("GET", FOOS.path("default"), ADMIN))
        assert isinstance(answer, ObjectAnswer)
        assert answer.warnings == [told]


async def test_a_definition_takes_labels_though_its_finalizer_has_no_path(
    running: RunningServer,
) -> None:
    await running.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    label = {"metadata": {"labels": {"team": "ml"}}}
    found = await running.client.patch(CUSTOM_RESOURCE_DEFINITIONS, "foos.example.org", label)
    assert found["metadata"]["labels"] == {"team": "ml"}


@pytest.mark.parametrize("component", load_components(), ids=lambda component: component.name)
async def test_a_components_definitions_can_be_applied_to_any_server(
    running: RunningServer, component: Component
) -> None:
    for wanted in map(portable, component.crds()):
        made = await running.client.apply(CUSTOM_RESOURCE_DEFINITIONS, wanted)
        again = await running.client.apply(CUSTOM_RESOURCE_DEFINITIONS, wanted)
        assert again == made
