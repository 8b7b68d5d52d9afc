"""Versions of custom resources: those that differ by name, and those that a webhook converts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server
from tests.support.webhooks import WebhookServer, allow, webhook_server

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError, Conflict, Invalid, NotFound
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

V1 = Resource("example.org", "v1", "Person", "people")
V2 = Resource("example.org", "v2", "Person", "people")


def convert(request: Obj) -> Obj:
    """v1 has one name, v2 a first and a last one."""
    wanted = request["desiredAPIVersion"]
    converted = [_converted(obj, wanted) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": converted}


def _converted(obj: Obj, api_version: str) -> Obj:
    spec = dict(obj["spec"])
    if api_version == V2.api_version:
        spec["first"], spec["last"] = spec.pop("name").split(" ")
    else:
        spec["name"] = f"{spec.pop('first')} {spec.pop('last')}"
    return {**obj, "apiVersion": api_version, "spec": spec}


def version(name: str, *fields: str, storage: bool = False) -> Obj:
    text = {field: {"type": "string", "minLength": 2} for field in fields}
    properties = {**text, "replicas": {"type": "integer", "default": 1}}
    spec = {"type": "object", "required": list(fields), "properties": properties}
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
            },
        },
    }


def definition(client_config: Obj, storage: str = "v1") -> Obj:
    return new_object(
        CUSTOM_RESOURCE_DEFINITIONS,
        V1.qualified,
        spec={
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "people", "kind": "Person"},
            "versions": [
                version("v1", "name", storage=storage == "v1"),
                version("v2", "first", "last", storage=storage == "v2"),
            ],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client_config},
            },
        },
    )


def ada(name: str = "ada") -> Obj:
    return new_object(V1, name, "default", spec={"name": "Ada Lovelace"})


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


@pytest.fixture
async def server(client: Client) -> AsyncIterator[WebhookServer]:
    async with webhook_server(convert=convert) as server:
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(server.url("/convert")))
        yield server


class TestReading:
    async def test_an_object_is_shown_in_the_version_asked_for(
        self, client: Client, server: WebhookServer
    ) -> None:
        made = await client.create(V1, ada())
        assert server.requests == []
        shown = await client.get(V2, "ada", "default")
        assert shown["apiVersion"] == "example.org/v2"
        assert shown["spec"] == {"first": "Ada", "last": "Lovelace", "replicas": 1}
        assert shown["metadata"] == made["metadata"]

    async def test_a_list_is_converted_in_one_call(
        self, client: Client, server: WebhookServer
    ) -> None:
        for name in ("a", "b", "c"):
            await client.create(V1, ada(name))
        listed = await client.list(V2, "default")
        assert [item["spec"]["first"] for item in listed.items] == ["Ada", "Ada", "Ada"]
        assert len(server.requests) == 1
        assert len(server.requests[0]["objects"]) == 3

    async def test_a_watch_tells_of_changes_in_its_version(
        self, client: Client, server: WebhookServer
    ) -> None:
        watch = client.watch(V2, "default")
        await client.create(V1, ada())
        event = await anext(watch)
        assert (event.type, event.object["spec"]["last"]) == ("ADDED", "Lovelace")
        await client.delete(V1, "ada", "default")
        event = await anext(watch)
        assert (event.type, event.object["apiVersion"]) == ("DELETED", "example.org/v2")


class TestWriting:
    async def test_an_object_is_kept_in_the_storage_version(
        self, client: Client, server: WebhookServer
    ) -> None:
        spec = {"first": "Alan", "last": "Turing"}
        made = await client.create(V2, new_object(V2, "alan", "default", spec=spec))
        assert made["spec"] == {**spec, "replicas": 1}
        assert made["apiVersion"] == "example.org/v2"
        kept = await client.get(V1, "alan", "default")
        assert kept["spec"] == {"name": "Alan Turing", "replicas": 1}

    async def test_changes_are_made_in_the_version_of_the_request(
        self, client: Client, server: WebhookServer
    ) -> None:
        made = await client.create(V1, ada())
        await client.patch(V2, "ada", {"spec": {"last": "King"}}, "default")
        kept = await client.get(V1, "ada", "default")
        assert kept["spec"]["name"] == "Ada King"
        assert kept["metadata"]["generation"] == 2
        shown = await client.get(V2, "ada", "default")
        shown["spec"]["first"] = "Augusta"
        replaced = await client.replace(V2, shown)
        assert replaced["spec"]["first"] == "Augusta"
        with pytest.raises(Conflict):
            await client.replace(V2, {**shown, "metadata": made["metadata"]})

    async def test_it_can_be_applied_and_scaled_and_given_a_status(
        self, client: Client, server: WebhookServer
    ) -> None:
        spec = {"first": "Alan", "last": "Turing"}
        await client.apply(V2, new_object(V2, "alan", "default", spec=spec))
        await client.apply(V2, new_object(V2, "alan", "default", spec={**spec, "first": "Al"}))
        await client.set_scale(V2, "alan", "default", 4)
        shown = await client.patch_status(V2, "alan", {"replicas": 4}, "default")
        assert shown["spec"] == {**spec, "first": "Al", "replicas": 4}
        kept = await client.get(V1, "alan", "default")
        assert kept["spec"] == {"name": "Al Turing", "replicas": 4}
        assert kept["status"] == {"replicas": 4}

    async def test_the_schema_of_the_requests_version_decides(
        self, client: Client, server: WebhookServer
    ) -> None:
        with pytest.raises(Invalid, match=r"spec\.last: Required value"):
            await client.create(V2, new_object(V2, "x", "default", spec={"first": "Alan"}))
        with pytest.raises(NotFound):
            await client.patch(V2, "x", {"spec": {"last": "King"}}, "default")

    async def test_the_storage_version_may_change(
        self, client: Client, server: WebhookServer
    ) -> None:
        await client.create(V1, ada())
        current = await client.get(CUSTOM_RESOURCE_DEFINITIONS, V1.qualified)
        current["spec"] = definition(server.url("/convert"), storage="v2")["spec"]
        changed = await client.replace(CUSTOM_RESOURCE_DEFINITIONS, current)
        assert changed["status"]["storedVersions"] == ["v1", "v2"]
        listed = await client.list(V2, "default")
        assert listed.items[0]["spec"]["last"] == "Lovelace"
        await client.patch(V1, "ada", {"metadata": {"labels": {"a": "b"}}}, "default")
        before = len(server.requests)
        assert (await client.get(V2, "ada", "default"))["spec"]["first"] == "Ada"
        assert len(server.requests) == before


class TestFailure:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ({"result": {"status": "Failed", "message": "no idea"}}, "failed: no idea"),
            ({"result": {"status": "Success"}, "convertedObjects": []}, "0 objects, expected 1"),
            ({"uid": "other"}, "expected response.uid="),
        ],
    )
    async def test_what_cannot_be_converted_is_an_error(
        self, client: Client, server: WebhookServer, answer: Obj, message: str
    ) -> None:
        await client.create(V1, ada())
        server.answers["/convert"] = lambda _: answer
        with pytest.raises(ApiError) as caught:
            await client.get(V2, "ada", "default")
        where = "conversion webhook for example.org/v1, Kind=Person"
        assert caught.value.message.startswith(where)
        assert message in caught.value.message
        assert await client.get(V1, "ada", "default")

    async def test_a_webhook_may_not_make_another_object_of_it(
        self, client: Client, server: WebhookServer
    ) -> None:
        def rename(request: Obj) -> Obj:
            response: dict[str, Any] = convert(request)
            for obj in response["convertedObjects"]:
                obj["metadata"] = {**obj["metadata"], "name": "other"}
            return response

        await client.create(V1, ada())
        server.answers["/convert"] = rename
        with pytest.raises(ApiError, match="index 0: must have the same name: ada != other"):
            await client.get(V2, "ada", "default")

    async def test_of_the_metadata_only_labels_and_annotations_may_change(
        self, client: Client, server: WebhookServer
    ) -> None:
        def note(request: Obj) -> Obj:
            response: dict[str, Any] = convert(request)
            for obj in response["convertedObjects"]:
                added = {"annotations": {"from": "v1"}, "finalizers": ["x/y"]}
                obj["metadata"] = {**obj["metadata"], **added}
            return response

        await client.create(V1, ada())
        server.answers["/convert"] = note
        metadata = (await client.get(V2, "ada", "default"))["metadata"]
        assert metadata["annotations"] == {"from": "v1"}
        assert "finalizers" not in metadata


async def test_versions_without_a_webhook_differ_by_name_only(client: Client) -> None:
    made = definition({"url": "https://unused.example.org"})
    made["spec"]["conversion"] = {"strategy": "None"}
    made["spec"]["versions"][1]["schema"] = made["spec"]["versions"][0]["schema"]
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, made)
    await client.create(V1, ada())
    shown = await client.get(V2, "ada", "default")
    assert shown["apiVersion"] == "example.org/v2"
    assert shown["spec"] == {"name": "Ada Lovelace", "replicas": 1}
    await client.patch(V2, "ada", {"spec": {"replicas": 2}}, "default")
    assert (await client.get(V1, "ada", "default"))["spec"]["replicas"] == 2


async def test_an_admission_webhook_for_another_version_sees_the_object_converted(
    client: Client, server: WebhookServer
) -> None:
    configurations = Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        False,
    )
    server.answers["/v"] = allow
    webhook = {
        "name": "hook.example.org",
        "clientConfig": server.url("/v"),
        "rules": [
            {
                "operations": ["CREATE"],
                "apiGroups": ["example.org"],
                "apiVersions": ["v2"],
                "resources": ["people"],
            }
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    await client.create(configurations, new_object(configurations, "c", webhooks=[webhook]))
    await client.create(V1, ada())
    assert server.paths == ["/convert", "/v"]
    assert server.requests[1]["object"]["spec"]["last"] == "Lovelace"
    assert server.requests[1]["requestKind"]["version"] == "v1"


@pytest.mark.parametrize(
    ("conversion", "error"),
    [
        ({"strategy": "Other"}, "spec.conversion.strategy: Unsupported value"),
        ({"strategy": "Webhook"}, "spec.conversion.webhook.clientConfig: Required value"),
        (
            {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}},
            "spec.conversion.webhook: Forbidden",
        ),
        (
            {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a.b"}}},
            "spec.conversion.webhook.conversionReviewVersions: Required value",
        ),
    ],
)
async def test_a_conversion_that_cannot_work_is_refused(
    client: Client, conversion: Obj, error: str
) -> None:
    made = definition({})
    made["spec"]["conversion"] = conversion
    with pytest.raises(Invalid) as caught:
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, made)
    assert error in caught.value.message
