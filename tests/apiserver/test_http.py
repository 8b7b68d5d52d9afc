"""What clients other than ours see on the wire."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube import config, yaml
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, ENDPOINTS, PODS, SERVICES

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass
class Wire:
    """An administrator's HTTP session."""

    running: RunningServer
    session: aiohttp.ClientSession

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """The status, the decoded body and the headers of an answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        url = self.running.server.url + path
        skip = ("Content-Type",)
        async with self.session.request(
            method, url, data=data, headers=named, skip_auto_headers=skip
        ) as response:
            content = await response.read()
            try:
                return response.status, json.loads(content), response.headers
            except ValueError:
                return response.status, content, response.headers


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running_server(https=True) as running:
        context = config.load_kubeconfig(running.kubeconfig).ssl_context()
        connector = aiohttp.TCPConnector(ssl=context or True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield Wire(running, session)


async def test_an_object_is_read_in_the_form_asked_for(wire: Wire) -> None:
    path = CONFIG_MAPS.path("default", "kube-root-ca.crt")
    _, plain, headers = await wire("GET", path)
    assert (plain["kind"], headers["Content-Type"]) == ("ConfigMap", "application/json")
    _, text, headers = await wire("GET", path, Accept="application/yaml")
    assert (yaml.load(text), headers["Content-Type"]) == (plain, "application/yaml")
    _, table, _ = await wire("GET", path, Accept=f"{TABLE},application/json")
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "kube-root-ca.crt")
    _, partial, _ = await wire("GET", path, Accept=METADATA)
    assert set(partial) == {"kind", "apiVersion", "metadata"}
    _, listed, _ = await wire("GET", CONFIG_MAPS.path("default"), Accept=METADATA_LIST)
    assert listed["items"][0]["kind"] == "PartialObjectMetadata"


async def test_a_form_that_is_not_spoken_is_refused_with_those_that_are(wire: Wire) -> None:
    code, status, _ = await wire("GET", CONFIG_MAPS.path("default"), Accept="application/cbor")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    assert "application/json" in status["message"]
    code, status, _ = await wire(
        "POST", CONFIG_MAPS.path("default"), b"<a/>", Content_Type="application/xml"
    )
    assert (code, status["reason"]) == (415, "UnsupportedMediaType")


async def test_protobuf_clients_are_answered_in_json(wire: Wire) -> None:
    accept = "application/vnd.kubernetes.protobuf, */*"
    code, listed, _ = await wire("GET", CONFIG_MAPS.path("default"), Accept=accept)
    assert (code, listed["kind"]) == (200, "ConfigMapList")


async def test_bodies_may_be_yaml_or_say_nothing_of_their_type(wire: Wire) -> None:
    text = b"metadata: {name: y}\ndata: {a: 'yes'}\n"
    path = CONFIG_MAPS.path("default")
    code, _, _ = await wire("POST", path, text, Content_Type="application/yaml")
    assert code == 201
    code, _, _ = await wire("POST", path, {"metadata": {"name": "z"}})
    assert code == 201
    code, status, _ = await wire("POST", path, b"{nonsense")
    assert (code, status["reason"]) == (400, "BadRequest")


async def test_a_huge_body_is_refused(wire: Wire) -> None:
    body = {"metadata": {"name": "big"}, "data": {"a": "x" * 4_000_000}}
    code, status, _ = await wire("POST", CONFIG_MAPS.path("default"), body)
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


async def test_slashes_at_the_end_are_forgiven(wire: Wire) -> None:
    for path in ("/version/", "/api/", "/apis/", "/apis/apps/v1/"):
        code, _, _ = await wire("GET", path)
        assert code == 200, path


async def test_aggregated_discovery_and_its_tag(wire: Wire) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    code, found, headers = await wire("GET", "/apis", Accept=f"{accept},application/json")
    assert (code, found["kind"]) == (200, "APIGroupDiscoveryList")
    assert headers["Content-Type"] == accept.replace("application/json;", "application/json;")
    apps = next(item for item in found["items"] if item["metadata"]["name"] == "apps")
    deployments = next(
        r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments"
    )
    assert [s["subresource"] for s in deployments["subresources"]] == ["scale", "status"]
    code, _, _ = await wire("GET", "/apis", Accept=accept, If_None_Match=headers["ETag"])
    assert code == 304


async def test_large_answers_are_compressed_when_asked(wire: Wire) -> None:
    for name in ("a", "b"):
        body = {"metadata": {"name": name}, "data": {"a": name * 100_000}}
        await wire("POST", CONFIG_MAPS.path("default"), body)
    path = CONFIG_MAPS.path("default")
    _, packed, headers = await wire("GET", path, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(packed))["items"]) == 3
    assert "Content-Encoding" not in (await wire("GET", path, Accept_Encoding="identity"))[2]


async def test_discovery_comes_in_the_form_asked_for(wire: Wire) -> None:
    code, body, headers = await wire("GET", "/apis/apps/v1", Accept="application/yaml")
    assert (code, headers["Content-Type"]) == (200, "application/yaml")
    assert yaml.load(body)["groupVersion"] == "apps/v1"
    code, body, _ = await wire("GET", "/apis", Accept="text/html")
    assert (code, body["reason"]) == (406, "NotAcceptable")
    for version in ("v2", "v2beta1"):
        kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        code, body, headers = await wire("GET", "/apis", Accept=f"{kind},application/json")
        assert (code, headers["Content-Type"]) == (200, kind)
        assert body["apiVersion"] == f"apidiscovery.k8s.io/{version}"


async def test_openapi_v2_is_one_document_of_everything(wire: Wire) -> None:
    code, document, headers = await wire("GET", "/openapi/v2", Accept_Encoding="identity")
    assert (code, document["swagger"]) == (200, "2.0")
    pod = document["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"] == {"$ref": "#/definitions/io.k8s.api.core.v1.PodSpec"}
    assert pod["x-kubernetes-group-version-kind"][0]["kind"] == "Pod"
    patch = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["consumes"]
    assert "fieldManager" in {parameter["name"] for parameter in patch["parameters"]}
    assert not {"oneOf", "#/components"} & set(json.dumps(document).split('"'))
    again = {"If-None-Match": headers["ETag"]}
    assert (await wire("GET", "/openapi/v2", **again))[0] == 304
    old = "application/vnd.unknown"
    assert (await wire("GET", "/openapi/v2", Accept=old))[0] == 406


async def test_openapi_documents_change_their_address_with_their_content(wire: Wire) -> None:
    _, index, _ = await wire("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    code, document, headers = await wire("GET", url, Accept_Encoding="identity")
    assert (code, document["openapi"]) == (200, "3.0.0")
    assert "immutable" in headers["Cache-Control"]
    assert (await wire("GET", url, If_None_Match=headers["ETag"]))[0] == 304
    parameters = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    names = {p["name"] for p in parameters["patch"]["parameters"]}
    assert {"fieldValidation", "fieldManager", "dryRun", "force"} <= names


async def test_apply_needs_a_manager(wire: Wire) -> None:
    code, status, _ = await wire(
        "PATCH",
        CONFIG_MAPS.path("default", "c"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},
        Content_Type="application/apply-patch+yaml",
    )
    assert code == 422
    assert status["details"]["causes"][0]["field"] == "fieldManager"


async def test_a_warning_travels_in_a_header(wire: Wire) -> None:
    pod = {"spec": {"containers": [{"name": "a", "image": "b", "imagee": "c"}]}}
    path = PODS.path("default") + "?fieldValidation=Warn"
    code, _, headers = await wire("POST", path, {"metadata": {"name": "p"}, **pod})
    assert code == 201
    assert headers["Warning"] == '299 - "unknown field \\"spec.containers[0].imagee\\""'


async def test_a_watch_from_a_forgotten_version_says_so_in_the_stream(wire: Wire) -> None:
    path = CONFIG_MAPS.path("default") + "?watch=1&resourceVersion=999999"
    code, event, _ = await wire("GET", path)
    assert (code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


async def test_a_watch_that_cannot_be_read_is_refused_at_once(wire: Wire) -> None:
    for wrong, expected in (
        ("labelSelector=a%20b", 400),
        ("fieldSelector=nope=1", 400),
        ("resourceVersion=x", 422),
        ("resourceVersionMatch=Exact", 422),
    ):
        code, _, _ = await wire("GET", f"{CONFIG_MAPS.path('default')}?watch=1&{wrong}")
        assert code == expected, wrong


async def test_initial_events_end_with_a_bookmark(wire: Wire) -> None:
    query = (
        "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        "&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    _, lines, _ = await wire("GET", CONFIG_MAPS.path("default") + query)
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["type"] for event in events[:2]] == ["ADDED", "BOOKMARK"]
    annotations = events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_as_tables(wire: Wire) -> None:
    path = CONFIG_MAPS.path("default") + "?watch=1&timeoutSeconds=1"
    _, event, _ = await wire("GET", path, Accept=f"{TABLE},application/json")
    assert event["object"]["columnDefinitions"][0]["name"] == "Name"
    assert event["object"]["rows"][0]["cells"][0] == "kube-root-ca.crt"


async def test_collections_are_deleted_one_namespace_at_a_time(wire: Wire) -> None:
    for path in ("/api/v1/configmaps", "/api/v1/namespaces"):
        code, body, _ = await wire("DELETE", path)
        assert (code, body["reason"]) == (405, "MethodNotAllowed")
    _, found, _ = await wire("GET", "/api/v1")
    [namespaces] = [one for one in found["resources"] if one["name"] == "namespaces"]
    assert "deletecollection" not in namespaces["verbs"]


async def test_unknown_methods_and_paths(wire: Wire) -> None:
    assert (await wire("DELETE", "/version"))[0] == 405
    # Objects of a namespace are created in it, whatever they say themselves.
    assert (await wire("POST", "/api/v1/configmaps"))[0] == 405
    assert (await wire("GET", "/nothing/here"))[0] == 404
    assert (await wire("PUT", "/api/v1/namespaces/default/pods/p/log"))[0] == 405


async def test_the_proxy_passes_requests_to_a_services_endpoints(wire: Wire) -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        text = f"{request.method} {request.rel_url} {(await request.read()).decode()}"
        return web.Response(text=text, status=202, headers={"X-Kept": "yes"})

    runner = web.ServerRunner(web.Server(echo))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    client = wire.running.client
    ports = [{"name": "http", "port": 8888}]
    await client.create(SERVICES, new_object(SERVICES, "echo", "default", spec={"ports": ports}))
    proxy = SERVICES.path("default", "echo:8888", "proxy")
    code, status, _ = await wire("GET", proxy + "/")
    assert code == 503
    assert "no endpoints available" in status["message"]
    subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "http", "port": port}]}
    await client.create(ENDPOINTS, new_object(ENDPOINTS, "echo", "default", subsets=[subset]))
    code, text, headers = await wire("POST", proxy + "/a%2Fb/c?x=1&y=a%20b", b"hello")
    assert (code, headers["X-Kept"]) == (202, "yes")
    assert text == b"POST /a%2Fb/c?x=1&y=a%20b hello"
    await runner.cleanup()
