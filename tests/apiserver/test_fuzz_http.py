"""Whatever comes over the wire: it is answered, in time, and never with the server's own failure.

Methods, paths, queries, headers and bodies are put together from what means something and what
does not. ``--fuzz 50`` goes on for longer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.apiserver import running_server
from tests.support.broken import ODD_VALUES
from yarl import URL

from kubeling.kube import config
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, PODS

EXAMPLES = 150
PATIENCE = 60.0


def words(text: str) -> st.SearchStrategy[str]:
    """One of the words of a text."""
    return st.sampled_from(text.split())


SEGMENTS = words(
    "api apis v1 v2 apps batch autoscaling namespaces default kube-system configmaps "
    "pods secrets deployments events jobs customresourcedefinitions "
    "apiextensions.k8s.io events.k8s.io there none status scale log exec proxy "
    "eviction binding token finalize watch openapi v3 version healthz livez readyz "
    "metrics.k8s.io nodes metrics .well-known openid-configuration x:80 %00 %2F "
    "%2e%2e a%20b é A_b * ~"
) | st.text(max_size=4)
KNOWN = st.sampled_from(
    [
        "/api/v1/namespaces/default/configmaps/there",
        "/api/v1/namespaces/default/configmaps",
        "/api/v1/namespaces/default/pods/there",
        "/api/v1/namespaces/default/pods/there/status",
        "/api/v1/namespaces/default/pods/there/log",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        "/api/v1/configmaps",
        "/api/v1/watch/configmaps",
        "/api/v1/namespaces/default",
        "/apis/apps/v1/namespaces/default/deployments",
        "/apis/apps/v1/namespaces/default/deployments/there/scale",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis",
        "/api",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/apps/v1",
    ]
)
PATHS = KNOWN | st.lists(SEGMENTS, max_size=9).map(lambda parts: "/" + "/".join(parts))
OPTIONS = words(
    "watch limit continue resourceVersion resourceVersionMatch labelSelector "
    "fieldSelector timeoutSeconds allowWatchBookmarks sendInitialEvents dryRun "
    "fieldManager fieldValidation force gracePeriodSeconds propagationPolicy "
    "orphanDependents pretty includeObject container tailLines sinceSeconds "
    "sinceTime limitBytes previous timestamps command verbose hash"
)
VALUES = words(
    "1 0 -1 true false All Strict Warn Exact NotOlderThan a=b a!=b,!c "
    "metadata.name=there x=y a,b) a(in(b 99999999999999999999999 Foreground Orphan "
    "eyJ2IjoxfQ e30 kubectl"
) | st.text(max_size=5)
QUERIES = st.lists(st.tuples(OPTIONS, VALUES), max_size=4)
MEDIA = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/apply-patch+cbor",
        "application/cbor",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "text/html;q=0.9,*/*;q=x",
        ";;=,",
        "",
    ]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": MEDIA,
        "Accept": MEDIA,
        "Accept-Encoding": st.sampled_from(["gzip", "identity;q=0", "br,*"]),
        "If-None-Match": st.sampled_from(["*", '"x"']),
        "User-Agent": st.sampled_from(["", "a/b", "é/1", "x" * 300]),
        "Impersonate-User": st.sampled_from(["jane", ""]),
        "Authorization": st.sampled_from(["Bearer x", "Basic Og==", "Bearer a.b.c", "x"]),
    },
)
ODD = st.sampled_from([value for value in ODD_VALUES if value != "9" * 5000])
PARTS = st.recursive(
    ODD,
    lambda inner: st.dictionaries(
        words("apiVersion kind metadata name spec data op path value labels"),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)
OBJECTS = st.builds(
    lambda name, parts: {
        "metadata": {"name": name},
        "data": {"a": "b"},
        **(parts if isinstance(parts, dict) else {}),
    },
    st.sampled_from(["there", "new", "A_b", ""]),
    PARTS,
)
BODIES = (
    st.none()
    | st.binary(max_size=20)
    | (OBJECTS | PARTS).map(lambda value: json.dumps(value).encode())
    | st.just(b"k8s\x00" + b"\x0a\x10" * 4)
    | st.just(b"[" * 3000)
    | st.just(b'{"a":' * 500 + b"1" + b"}" * 500)
    | st.just(b"a: &a [*a]")
    | st.just(b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\n" + b"c: 1\nc: 2")
)
METHODS = words("GET GET POST POST PUT PATCH PATCH DELETE HEAD OPTIONS TRACE")


class Wire:
    """A server and an administrator's session, between which requests go one at a time."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._start())

    async def _start(self) -> None:
        running = await self._stack.enter_async_context(running_server(https=True))
        client = running.client
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "there", "default"))
        containers = [{"name": "c", "image": "busybox"}]
        pod = new_object(PODS, "there", "default", spec={"containers": containers})
        await client.create(PODS, pod)
        context = config.load_kubeconfig(running.kubeconfig).ssl_context()
        connector = aiohttp.TCPConnector(ssl=context or True)
        session = aiohttp.ClientSession(connector=connector, skip_auto_headers=["Content-Type"])
        self._session = await self._stack.enter_async_context(session)
        self._url = running.server.url

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def send(
        self, method: str, path: str, query: list[tuple[str, str]], headers: Any, body: Any
    ) -> tuple[int, bytes]:
        """The status and the body of the answer; a watch is left after its first bytes."""
        return self._runner.run(self._send(method, path, query, headers, body))

    async def _send(
        self, method: str, path: str, query: list[tuple[str, str]], headers: Any, body: Any
    ) -> tuple[int, bytes]:
        url = URL(self._url + path).with_query([("timeoutSeconds", "1"), *query])
        async with (
            asyncio.timeout(PATIENCE),
            self._session.request(method, url, headers=headers, data=body) as response,
        ):
            if response.headers.get("Transfer-Encoding") == "chunked":
                return response.status, await response.content.readany()
            return response.status, await response.read()


@pytest.fixture
def wire(caplog: pytest.LogCaptureFixture) -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()
    failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not failures, [record.getMessage() for record in failures]


def test_no_request_breaks_the_server(wire: Wire, fuzz: int) -> None:
    @settings(
        max_examples=EXAMPLES * fuzz,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(METHODS, PATHS, QUERIES, HEADERS, BODIES)
    def send(method: str, path: str, query: Any, headers: Any, body: Any) -> None:
        code, answer = wire.send(method, path, query, headers, body)
        # What no node runs here to answer, and a version that is not there yet.
        assert code < 500 or code in (503, 504), (code, answer[:500])
        if code >= 400 and method != "HEAD" and not answer.startswith(b"Invalid"):
            assert json.loads(answer)["kind"] == "Status"

    send()
    assert wire.send("GET", "/readyz", [], {}, None) == (200, b"ok")
