"""OpenAPI v3 says what kubectl asks it: what can be validated, merged and explained."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.openapi import Described, group_document, group_path
from kubeling.kube.resources import Resource

Obj = dict[str, Any]

WIDGETS = Resource("example.com", "v1", "Widget", "widgets", True, (), ())
WIDGET = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "default": 3},
                "port": {"x-kubernetes-int-or-string": True},
                "template": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "x-kubeling-ref": "io.k8s.api.core.v1.PodTemplateSpec",
                },
            },
        }
    },
}


def builtin(group: str, version: str) -> Obj:
    described = [
        Described(entry.resource, entry.definition, status="status" in entry.subresources)
        for entry in BUILTIN_RESOURCES
        if (entry.resource.group, entry.resource.version) == (group, version)
    ]
    found: Obj = json.loads(group_document(group, version, described))
    return found


def custom() -> Obj:
    described = Described(WIDGETS, "com.example.v1.Widget", WIDGET, scale=True, status=True)
    found: Obj = json.loads(group_document("example.com", "v1", [described]))
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


GROUPS = sorted({(e.resource.group, e.resource.version) for e in BUILTIN_RESOURCES})


@pytest.mark.parametrize(("group", "version"), GROUPS)
def test_every_document_contains_all_it_refers_to(group: str, version: str) -> None:
    document = builtin(group, version)
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert "x-kubeling" not in json.dumps(document)


def test_writes_can_be_validated_strictly_and_tried_out() -> None:
    paths = builtin("apps", "v1")["paths"]
    collection = paths["/apis/apps/v1/namespaces/{namespace}/deployments"]
    one = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    for operation in (collection["post"], one["put"], one["patch"]):
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert names >= {"fieldValidation", "dryRun", "fieldManager"}
        kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
        assert operation["x-kubernetes-group-version-kind"] == kind


def test_kinds_and_merge_keys_are_named() -> None:
    schemas = builtin("", "v1")["components"]["schemas"]
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert schemas["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]


def test_integers_or_strings_and_quantities_are_called_so() -> None:
    schemas = builtin("", "v1")["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.TCPSocketAction"]["properties"]["port"]
    assert port["$ref"].endswith(".IntOrString")
    limits = schemas["io.k8s.api.core.v1.ResourceRequirements"]["properties"]["limits"]
    assert limits["additionalProperties"]["$ref"].endswith(".Quantity")


def test_only_built_in_kinds_promise_strategic_merges() -> None:
    strategic = "application/strategic-merge-patch+json"
    pods = builtin("", "v1")["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert strategic in pods["patch"]["requestBody"]["content"]
    widgets = custom()["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]
    assert strategic not in widgets["patch"]["requestBody"]["content"]
    assert "application/apply-patch+yaml" in widgets["patch"]["requestBody"]["content"]


def test_a_definition_is_described_with_the_built_in_types_it_uses() -> None:
    schemas = custom()["components"]["schemas"]
    spec = schemas["com.example.v1.Widget"]["properties"]["spec"]
    reference = "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec"
    assert spec["properties"]["template"] == {"$ref": reference}
    assert spec["properties"]["size"]["default"] == 3
    assert spec["properties"]["port"]["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "io.k8s.api.core.v1.PodSpec" in schemas


def test_subresources_have_paths() -> None:
    paths = custom()["paths"]
    for subresource in ("scale", "status"):
        path = f"/apis/example.com/v1/namespaces/{{namespace}}/widgets/{{name}}/{subresource}"
        assert "patch" in paths[path]


def test_the_core_group_has_no_name() -> None:
    assert group_path("", "v1") == "api/v1"
    assert group_path("apps", "v1") == "apis/apps/v1"
