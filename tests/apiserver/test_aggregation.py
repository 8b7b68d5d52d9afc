"""APIServices: what this server answers itself, and what it hands on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from tests.support.apiserver import RunningServer, running_server
from tests.support.extension import API_SERVICES, ExtensionServer, extension_server

from kubeling.kube.crd import crd
from kubeling.kube.errors import BadRequest, Forbidden, Invalid, NotFound, ServiceUnavailable
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

GROUP, VERSION = "wardle.example.com", "v1"
FLUNDERS = Resource(GROUP, VERSION, "Flunder", "flunders")
RESOURCES = [
    {
        "name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder",
        "verbs": ["get", "list"], "shortNames": ["fl"],
    },
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder",
     "verbs": ["get"]},
]  # fmt: skip
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def listed(request: web.Request) -> web.Response:
    return web.json_response({"kind": "FlunderList", "items": [{"metadata": {"name": "one"}}]})


async def refused(request: web.Request) -> web.Response:
    status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
    return web.json_response({**status, "message": 'flunders "x" not found'}, status=404)


@contextlib.asynccontextmanager
async def wardle(running: RunningServer) -> AsyncIterator[ExtensionServer]:
    collection = "/namespaces/{namespace}/flunders"
    routes = {collection: listed, f"{collection}/{{name}}": refused}
    async with extension_server(running.client, GROUP, VERSION, RESOURCES, routes) as server:
        yield server


async def until(
    running: RunningServer, title: str, holds: Callable[[Obj], bool]
) -> Obj:  # fmt: skip
    fields = f"metadata.name={title}"
    async with asyncio.timeout(20):
        async for event in running.client.watch(API_SERVICES, fields=fields):
            if event.type in ("ADDED", "MODIFIED") and holds(event.object):
                return event.object
    raise AssertionError("the watch ended")


def reason(api_service: Obj) -> str:
    found = condition(api_service, "Available")
    return found.reason if found else ""


async def test_every_group_version_of_the_server_is_a_local_apiservice() -> None:
    async with running_server() as running:
        found = await running.client.list(API_SERVICES)
        names = {item["metadata"]["name"] for item in found.items}
        assert {"v1.", "v1.apps", "v2.autoscaling", "v1beta1.metrics.k8s.io"} <= names
        assert {reason(item) for item in found.items} == {"Local"}
        core = await running.client.get(API_SERVICES, "v1.")
        assert core["spec"] == {
            "version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1,
        }  # fmt: skip


async def test_a_definition_brings_an_apiservice_and_takes_it_along() -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    models = Resource("example.com", "v1", "Model", "models")
    async with running_server() as running:
        await running.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd(models, schema, schema))
        await until(running, "v1.example.com", lambda found: reason(found) == "Local")
        stream = running.client.watch(API_SERVICES, fields="metadata.name=v1.example.com")
        await running.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "models.example.com")
        async with asyncio.timeout(20):
            async for event in stream:
                if event.type == "DELETED":
                    break


async def test_requests_reach_the_backend_with_their_user_and_nobody_elses_claims() -> None:
    async with running_server() as running, wardle(running) as server:
        await server.publish(running.client)
        await running.client.create(API_SERVICES, server.api_service())
        found = await until(running, server.title, lambda found: reason(found) == "Passed")
        assert condition(found, "Available") == (
            "Available", "True", "Passed", "all checks passed",
        )  # fmt: skip
        listed = await running.client.list(FLUNDERS, "default", labels="a in (b,c)")
        assert [item["metadata"]["name"] for item in listed.items] == ["one"]
        (asked,) = server.requests
        assert asked.query["labelSelector"] == "a in (b,c)"
        assert asked.headers["X-Remote-User"] == "system:admin"
        groups = asked.headers.getall("X-Remote-Group")
        assert groups == ["system:masters", "system:authenticated"]
        with pytest.raises(NotFound, match='flunders "x" not found'):
            await running.client.get(FLUNDERS, "x", "default")


async def test_authorisation_comes_before_the_backend() -> None:
    async with running_server() as running, wardle(running) as server:
        await server.publish(running.client)
        await running.client.create(API_SERVICES, server.api_service())
        await until(running, server.title, lambda found: reason(found) == "Passed")
        with pytest.raises(Forbidden, match='cannot list resource "flunders" in API group'):
            await running.client_of("nobody").list(FLUNDERS, "default")
        assert server.requests == []


async def test_discovery_lists_what_the_backend_serves() -> None:
    async with running_server() as running, wardle(running) as server:
        await server.publish(running.client)
        await running.client.create(API_SERVICES, server.api_service())
        await until(running, server.title, lambda found: reason(found) == "Passed")
        groups = await running.client.raw("GET", "/apis")
        assert GROUP in {group["name"] for group in groups["groups"]}
        plain = await running.client.raw("GET", f"/apis/{GROUP}/{VERSION}")
        assert plain["resources"] == RESOURCES
        document = await running.client.raw("GET", "/apis", accept=AGGREGATED)
        (group,) = [item for item in document["items"] if item["metadata"]["name"] == GROUP]
        (version,) = group["versions"]
        assert version["freshness"] == "Current"
        (resource,) = version["resources"]
        assert resource["shortNames"] == ["fl"]
        assert resource["scope"] == "Namespaced"
        assert [part["subresource"] for part in resource["subresources"]] == ["status"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"service": {"namespace": "default", "name": "nowhere"}},
            ("ServiceNotFound", 'service/nowhere in "default" is not present'),
        ),
        (
            {"service": {"namespace": "default", "name": "hook", "port": 444}},
            ("ServicePortError", 'service/hook in "default" is not listening on port 444'),
        ),
        ({"caBundle": ""}, ("FailedDiscoveryCheck", "failing or missing response from https://")),
    ],
)
async def test_why_a_backend_is_not_available_is_told(spec: Obj, said: tuple[str, str]) -> None:
    async with running_server() as running, wardle(running) as server:
        await server.publish(running.client)
        await running.client.create(API_SERVICES, server.api_service(**spec))
        found = await until(running, server.title, lambda found: bool(reason(found)))
        available = condition(found, "Available")
        assert available is not None
        assert (available.status, available.reason) == ("False", said[0])
        assert available.message.startswith(said[1])
        with pytest.raises(ServiceUnavailable, match="currently unable to handle the request"):
            await running.client.list(FLUNDERS, "default")
        document = await running.client.raw("GET", "/apis", accept=AGGREGATED)
        (group,) = [item for item in document["items"] if item["metadata"]["name"] == GROUP]
        assert group["versions"] == [{"version": VERSION, "freshness": "Stale"}]


async def test_a_backend_that_cannot_prove_itself_is_asked_all_the_same_if_so_wished() -> None:
    async with running_server() as running, wardle(running) as server:
        await server.publish(running.client)
        wished = {"caBundle": None, "insecureSkipTLSVerify": True}
        await running.client.create(API_SERVICES, server.api_service(**wished))
        await until(running, server.title, lambda found: reason(found) == "Passed")
        assert (await running.client.list(FLUNDERS, "default")).items


async def test_what_an_adapter_takes_over_comes_back_when_it_goes() -> None:
    async with running_server() as running:
        group = "metrics.k8s.io"
        routes = {"/nodes": listed}
        async with extension_server(running.client, group, "v1beta1", [], routes) as server:
            await server.publish(running.client)
            await running.client.patch(
                API_SERVICES, server.title, {"spec": server.api_service()["spec"]}
            )
            await until(running, server.title, lambda found: reason(found) == "Passed")
            nodes = Resource(group, "v1beta1", "NodeMetrics", "nodes", False)
            assert (await running.client.list(nodes)).items
        await running.client.delete(API_SERVICES, server.title)
        await until(running, server.title, lambda found: reason(found) == "Local")
        with pytest.raises(ServiceUnavailable, match="no node runs here"):
            await running.client.list(nodes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groupPriorityMinimum": 0}, "spec.groupPriorityMinimum: Invalid value: 0"),
        ({"insecureSkipTLSVerify": True}, "may not be true if caBundle is present"),
        ({"version": "v2"}, 'must be `spec.version+"."+spec.group`: "v2.wardle.example.com"'),
        ({"service": None}, "local APIServices may not have a caBundle"),
        ({"caBundle": "no base64"}, "illegal base64 data at input byte 2"),
    ],
)
async def test_an_apiservice_that_makes_no_sense_is_refused(change: Obj, said: str) -> None:
    async with running_server() as running:
        server = ExtensionServer(GROUP, VERSION, "TEEK")
        with pytest.raises((BadRequest, Invalid)) as refusal:
            await running.client.create(API_SERVICES, server.api_service(**change))
        assert said in str(refusal.value)
