"""InferenceGraphs: what steps are asked, what is refused, and how they answer at the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving

from kubeling.gateway.app import create_app
from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, condition, name, new_object
from kubeling.kube.resources import SERVICES
from kubeling.serving.component import COMPONENT
from kubeling.serving.gateway.connections import Connections
from kubeling.serving.graph.conditions import ConditionError, check, exists
from kubeling.serving.graph.execution import Answer, GraphFailure, run
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.graph.routing import GraphRouter
from kubeling.serving.graph.rules import validate_graph, warnings_of
from kubeling.serving.resources import INFERENCE_SERVICES

Client = TestClient[Any, Any]


def step(service: str, **fields: Any) -> Obj:
    return {"serviceName": service, **fields}


def node(router: str, *steps: Obj) -> Obj:
    return {"routerType": router, "steps": list(steps)}


def graph(**nodes: Obj) -> Obj:
    return {
        "apiVersion": INFERENCE_GRAPHS.api_version,
        "kind": INFERENCE_GRAPHS.kind,
        "metadata": {"name": "g", "namespace": NAMESPACE},
        "spec": {"nodes": nodes},
    }


def asked(nodes: Obj, body: Any, failing: Sequence[str] = ()) -> tuple[int, Any]:
    """The graph's answer where each service says its name and what it was asked."""

    async def call(one: Obj, content: bytes, path: str, last: bool) -> Answer:
        title = one["serviceName"]
        said = {"by": title, "asked": json.loads(content)}
        return Answer(500 if title in failing else 200, json.dumps(said).encode())

    answer = asyncio.run(run(nodes, json.dumps(body).encode(), call))
    return answer.status, json.loads(answer.body)


def test_a_sequence_hands_on_what_it_is_told_to() -> None:
    nodes = {"root": node("Sequence", step("a"), step("b", data="$response"), step("c"))}
    assert asked(nodes, 1) == (200, {"by": "c", "asked": 1})
    nodes = {"root": node("Sequence", step("a"), step("b", data="$response"))}
    assert asked(nodes, 1) == (200, {"by": "b", "asked": {"by": "a", "asked": 1}})


def test_a_sequence_ends_where_a_condition_does_not_hold() -> None:
    nodes = {"root": node("Sequence", step("a"), step("b", condition="nothing"))}
    assert asked(nodes, 1) == (200, {"by": "a", "asked": 1})
    nodes = {"root": node("Sequence", step("a"), step("b", condition='[@this].#(by=="a")'))}
    assert asked(nodes, 1) == (200, {"by": "b", "asked": 1})


def test_a_hard_step_that_fails_is_the_answer_and_a_soft_one_is_not() -> None:
    steps = (step("a", dependency="Hard"), step("b"))
    assert asked({"root": node("Sequence", *steps)}, 1, ["a"])[0] == 500
    steps = (step("a", dependency="Soft"), step("b"))
    assert asked({"root": node("Sequence", *steps)}, 1, ["a"]) == (200, {"by": "b", "asked": 1})


def test_a_switch_asks_the_first_that_fits_the_request() -> None:
    nodes = {"root": node("Switch", step("a", condition="x"), step("b", condition="y.0"))}
    assert asked(nodes, {"y": [1]}) == (200, {"by": "b", "asked": {"y": [1]}})
    with pytest.raises(GraphFailure) as failure:
        asked(nodes, {"z": 1})
    assert failure.value.status == 404


def test_an_ensemble_merges_what_all_say() -> None:
    nodes = {
        "root": node("Ensemble", step("a", name="first"), {"nodeName": "rest"}),
        "rest": node("Sequence", step("b")),
    }
    assert asked(nodes, 1) == (
        200,
        {"first": {"by": "a", "asked": 1}, "1": {"by": "b", "asked": 1}},
    )
    hard = {"root": node("Ensemble", step("a"), step("b", dependency="Hard"))}
    assert asked(hard, 1, ["b"]) == (500, {"by": "b", "asked": 1})
    assert asked(hard, 1, ["a"])[0] == 200


def test_an_ensemble_that_has_no_answer_leaves_no_step_behind() -> None:
    left: list[str] = []

    async def call(one: Obj, content: bytes, path: str, last: bool) -> Answer:
        if one["serviceName"] == "a":
            raise GraphFailure(500, "a is away")
        try:
            return await asyncio.Future[Answer]()
        finally:
            left.append(one["serviceName"])

    async def ask() -> None:
        with pytest.raises(GraphFailure, match="a is away"):
            await run({"root": node("Ensemble", step("b"), step("a"))}, b"1", call)
        assert left == ["b"]

    asyncio.run(ask())


def test_a_splitter_draws_by_weights() -> None:
    nodes = {"root": node("Splitter", step("a", weight=0), step("b", weight=100))}
    assert {asked(nodes, 1)[1]["by"] for _ in range(20)} == {"b"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"predictions": [3], "more": 1}, {"instances": [3]}),
        ({"predictions": "3"}, {"predictions": "3"}),
        ({"predictions": []}, {"predictions": []}),
        ([1], [1]),
    ],
)
def test_predictions_become_instances_where_asked(said: Any, expected: Any) -> None:
    async def call(one: Obj, content: bytes, path: str, last: bool) -> Answer:
        return Answer(200, json.dumps(said).encode() if one["serviceName"] == "a" else content)

    second = step("b", data="$response", mapPredictionsToInstances=True)
    answer = asyncio.run(run({"root": node("Sequence", step("a"), second)}, b"1", call))
    assert json.loads(answer.body) == expected
    nodes = {"root": node("Sequence", step("b", mapPredictionsToInstances=True))}
    answer = asyncio.run(run(nodes, json.dumps(said).encode(), call))
    assert json.loads(answer.body) == expected, "of the request, too"


def test_only_the_first_node_tells_that_no_route_fits() -> None:
    switch = node("Switch", step("a", condition="x"))
    with pytest.raises(GraphFailure, match="None of the routes matched") as failure:
        asked({"root": node("Sequence", {"nodeName": "next"}), "next": switch}, {"z": 1})
    assert failure.value.status == 500


def test_a_condition_of_the_first_step_has_no_answer_to_hold_of() -> None:
    with pytest.raises(GraphFailure, match="x is for an answer") as failure:
        asked({"root": node("Sequence", step("a", condition="x"))}, {"x": 1})
    assert failure.value.status == 500


def test_nodes_lead_to_nodes_by_what_the_request_and_the_answers_say() -> None:
    nodes = {
        "root": node(
            "Sequence",
            {"nodeName": "kind"},
            {"nodeName": "breeds", "condition": 'asked.#(id=="2")'},
        ),
        "kind": node(
            "Switch",
            step("cats", condition='#(id=="1")'),
            step("dogs", condition='#(id=="2")'),
        ),
        "breeds": node("Ensemble", step("beagles", name="b"), step("poodles", name="p")),
    }
    status, found = asked(nodes, [{"id": "2"}])
    assert status == 200
    assert {title: one["by"] for title, one in found.items()} == {"b": "beagles", "p": "poodles"}
    status, found = asked(nodes, [{"id": "1"}])
    assert (status, found["by"]) == (200, "cats"), "what does not go on has succeeded"


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("a", {"a": None}, True),
        ("a.b", {"a": {"c": 1}}, False),
        ("a.1", {"a": [1, 2]}, True),
        ("a.2", {"a": [1, 2]}, False),
        ("a.#", {"a": []}, True),
        ("a*.b?", {"abc": {"bd": 1}}, True),
        (r"a\.b", {"a.b": 1}, True),
        ("#(x>1).y", [{"x": 1}, {"x": 2, "y": 3}], True),
        ("#(x>2)", [{"x": 1}, {"x": 2}], False),
        ('#(name=="Ann (B)")', [{"name": "Ann (B)"}], True),
        ("[@this].#(picker==ENSEMBLE)", {"picker": "ENSEMBLE"}, True),
        ("[@this].#(picker==ENSEMBLE)", {"picker": "OTHER"}, False),
        ("predictions.#(==1)", {"predictions": [0, 1]}, True),
        ('#(name%"a*")#', [{"name": "b"}], True),
        ("#(ok==true)", [{"ok": False}], False),
        ("@this.a", {"a": 1}, True),
    ],
)
def test_conditions_are_gjsons(path: str, document: Any, expected: bool) -> None:
    check(path)
    assert exists(document, path) is expected


@pytest.mark.parametrize("path", ["@reverse", "{a,b}", "#(a==1", "a.#(b==~true)"])
def test_a_condition_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ConditionError):
        check(path)


def test_what_looks_like_a_comparison_and_is_none_is_told() -> None:
    request = AdmissionRequest(INFERENCE_GRAPHS, "CREATE")
    steps = [
        step("a", condition=c) for c in ("kind==cat", '[@this].#(kind=="cat")', "{a,b}", "a.b")
    ]
    (said,) = warnings_of(graph(root=node("Switch", *steps)), request)
    assert said.startswith("spec.nodes.root.steps[0].condition: kind==cat is a key of that name")


def test_the_step_that_failed_is_named() -> None:
    nodes = {
        "root": node("Sequence", step("a"), {"nodeName": "inner", "name": "second"}),
        "inner": node("Sequence", step("b", name="last", dependency="Hard"), step("c")),
    }

    async def call(one: Obj, content: bytes, path: str, last: bool) -> Answer:
        return Answer(400 if one["serviceName"] == "b" else 200, b"{}")

    assert asyncio.run(run(nodes, b"{}", call)).step == "inner/last (b)"
    nodes["inner"]["steps"][0] = {"serviceUrl": "http://me:secret@b", "dependency": "Hard"}

    async def refuse(one: Obj, content: bytes, path: str, last: bool) -> Answer:
        return Answer(200 if one.get("serviceName") else 400, b"{}")

    assert asyncio.run(run(nodes, b"{}", refuse)).step == "inner/0"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"other": node("Sequence", step("a"))}, "spec.nodes.root: Required value"),
        ({"root": node("Sequence")}, "spec.nodes.root.steps: Required value"),
        ({"root": node("Sequence", {})}, "spec.nodes.root.steps[0]: Required value"),
        (
            {"root": node("Sequence", step("a", serviceUrl="http://b"))},
            "spec.nodes.root.steps[0]: Invalid value",
        ),
        (
            {"root": node("Sequence", {"nodeName": "x"})},
            "spec.nodes.root.steps[0].nodeName: Not found",
        ),
        (
            {"root": node("Sequence", step("a", name="n"), step("b", name="n"))},
            "spec.nodes.root.steps[1].name: Duplicate value",
        ),
        ({"root": node("Splitter", step("a"))}, "spec.nodes.root.steps[0].weight: Required value"),
        ({"root": node("Splitter", step("a", weight=9))}, "spec.nodes.root.steps: Invalid value"),
        ({"root": node("Switch", step("a"))}, "spec.nodes.root.steps[0].condition: Required"),
        (
            {"root": node("Switch", step("a", condition="@x"))},
            "spec.nodes.root.steps[0].condition: Invalid value",
        ),
        (
            {
                "root": node("Sequence", {"nodeName": "a"}),
                "a": node("Sequence", {"nodeName": "root"}),
            },
            'spec.nodes: Invalid value: "root -> a -> root"',
        ),
    ],
)
def test_what_is_wrong_with_a_graph_is_named(nodes: Obj, expected: str) -> None:
    request = AdmissionRequest(INFERENCE_GRAPHS, "CREATE")
    found = [str(error) for error in validate_graph(graph(**nodes), None, request)]
    assert [error[: len(expected)] for error in found] == [expected]


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        await found.gateway()
        yield found


async def test_a_graph_answers_by_path_and_by_host(serving: Serving) -> None:
    async def answer(request: web.Request) -> web.Response:
        seen = {"path": request.path, "asked": await request.json()}
        return web.json_response({**seen, "token": request.headers.get("Authorization")})

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    async with (
        TestServer(app) as pod,
        TestClient(TestServer(create_app(serving.context, [COMPONENT]))) as gateway,
    ):
        container = {"image": "mine", "ports": [{"containerPort": pod.port}]}
        second = {"serviceUrl": "http://m.default.svc.cluster.local/more", "data": "$response"}
        nodes = {"root": node("Sequence", step("m"), second)}
        await serving.apply(INFERENCE_GRAPHS, graph(**nodes))
        waiting = await serving.until(INFERENCE_GRAPHS, "g", lambda o: "status" in o)
        ready = condition(waiting, "Ready")
        assert ready is not None
        assert ready.message == 'spec.nodes.root.steps[0].serviceName: no InferenceService "m"'

        await serving.service("m", predictor={"containers": [container]})
        await serving.start("m-predictor-00001")
        found = await serving.until(INFERENCE_GRAPHS, "g", is_ready)
        assert found["status"]["url"] == "http://g-default.example.com"
        await serving.until(INFERENCE_SERVICES, "m", is_ready)
        service = await serving.exists(SERVICES, "g")
        assert service["spec"]["externalName"] == "kubeling.kubeflow.svc.cluster.local"
        first = {"path": "/v1/models/m:predict", "asked": {"x": 1}, "token": None}
        expected = {"path": "/more", "asked": first, "token": None}
        headers = {"Authorization": "Bearer secret"}
        by_path = await gateway.post("/serving/default/g", json={"x": 1}, headers=headers)
        assert await by_path.json() == expected
        host = {"Host": "g-default.example.com"}
        by_host = await gateway.post("/", json={"x": 1}, headers=host)
        assert await by_host.json() == expected


@contextlib.asynccontextmanager
async def answering(handler: Callable[[web.Request], Any]) -> AsyncIterator[TestServer]:
    """What a step that names a URL is asked."""
    app = web.Application()
    app.router.add_post("/{tail:.*}", handler)
    async with TestServer(app) as found:
        yield found


@contextlib.asynccontextmanager
async def asking(serving: Serving, nodes: Obj, **spec: Any) -> AsyncIterator[Client]:
    """A client of the gateway, once there is a graph."""
    obj = graph(**nodes)
    obj["spec"] |= spec
    async with TestClient(TestServer(create_app(serving.context, [COMPONENT]))) as gateway:
        await serving.apply(INFERENCE_GRAPHS, obj)
        await serving.until(INFERENCE_GRAPHS, "g", is_ready)
        yield gateway


async def test_the_answer_of_the_last_step_is_passed_on_as_it_comes(serving: Serving) -> None:
    more = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await more.wait()
        await response.write(b"data: 2\n\n")
        return response

    async with answering(stream) as step:
        nodes = {
            "root": node("Switch", {"nodeName": "next", "condition": "x"}),
            "next": node("Sequence", {"serviceUrl": str(step.make_url("/")), "name": "say"}),
        }
        async with (
            asking(serving, nodes) as gateway,
            gateway.post("/serving/default/g", json={"x": 1}) as answer,
        ):
            assert answer.content_type == "text/event-stream"
            assert await answer.content.readline() == b"data: 1\n"
            more.set()
            assert b"data: 2" in await answer.content.read()
            text = await (await gateway.get("/metrics")).text()
            labels = 'code="200",inferencegraph="g",namespace="default",step="next/say"'
            assert f"kubeling_inference_graph_step_seconds_count{{{labels}}} 1" in text
            await serving.client.delete(INFERENCE_GRAPHS, "g", "default")
            async with asyncio.timeout(10):
                while 'inferencegraph="g"' in text:
                    text = await (await gateway.get("/metrics")).text()


async def test_a_graph_ends_at_its_timeouts(serving: Serving) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with answering(hang) as step:
        nodes = {"root": node("Sequence", {"serviceUrl": str(step.make_url("/"))})}
        async with asking(serving, nodes, routerTimeouts={"serverWrite": 1}) as gateway:
            answer = await gateway.post("/serving/default/g", json={})
            assert answer.status == 504
            assert (await answer.json())["cause"] == "the steps did not answer within 1 s"
        never.set()


async def test_a_step_is_left_when_its_client_is(serving: Serving) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return web.Response()

    async with answering(hang) as step, asyncio.timeout(60):
        nodes = {"root": node("Sequence", {"serviceUrl": str(step.make_url("/")), "name": "say"})}
        async with asking(serving, nodes) as gateway:
            post = asyncio.create_task(gateway.post("/serving/default/g", json={}))
            await asked.wait()
            post.cancel()
            await left.wait()
            text, labels = "", 'code="499",inferencegraph="g",namespace="default",step="root/say"'
            while labels not in text:
                text = await (await gateway.get("/metrics")).text()


async def test_an_answer_that_streams_for_too_long_breaks_off(serving: Serving) -> None:
    never = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n")
        await never.wait()
        return response

    async with answering(stream) as step:
        nodes = {"root": node("Sequence", {"serviceUrl": str(step.make_url("/"))})}
        async with asking(serving, nodes, routerTimeouts={"serverWrite": 1}) as gateway:
            reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
            head = b"POST /serving/default/g HTTP/1.1\r\nHost: localhost\r\n"
            writer.write(head + b"Content-Length: 2\r\n\r\n{}")
            answer = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            assert answer.count(b"HTTP/1.1 ") == 1, "no second answer within the first"
            assert answer.endswith(b"data: 1\n\r\n"), "and it is no whole one"
        never.set()


async def test_steps_get_the_headers_that_are_set_and_those_of_tracing(tmp_path: Path) -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.json_response([[k.lower(), v] for k, v in request.headers.items()])

    wanted = ["x-team-.*", "X-Test-*", "Auth*"]
    async with (
        running_serving(tmp_path, propagated_headers=wanted) as serving,
        answering(tell) as step,
    ):
        await serving.gateway()
        nodes = {"root": node("Sequence", {"serviceUrl": str(step.make_url("/"))})}
        async with asking(serving, nodes) as gateway:
            headers = [
                *(("X-Team-Id", "1"), ("X-Team-Id", "2"), ("X-Team", "2"), ("X-Test-1", "3")),
                *(("Authorization", "Bearer t"), ("traceparent", "00-1-2-01"), ("Cookie", "a=b")),
                ("Content-Type", "application/x-www-form-urlencoded"),
            ]
            answer = await gateway.post("/serving/default/g", data=b"{}", headers=headers)
            seen = [(k, v) for k, v in await answer.json()]
    assert [v for k, v in seen if k == "x-team-id"] == ["1", "2"]
    assert {"x-test-1", "authorization", "traceparent"} <= {k for k, _ in seen}
    assert not {"x-team", "cookie"} & {k for k, _ in seen}
    assert ("content-type", "application/json") in seen, "which no pattern names"


@pytest.mark.parametrize(
    "url", ["http://m.default.{$your-domain}/switch", "http://[x/", "http://a:99999/"]
)
async def test_a_step_that_leads_nowhere_fails_the_request(serving: Serving, url: str) -> None:
    async with asking(serving, {"root": node("Sequence", {"serviceUrl": url})}) as gateway:
        answer = await gateway.post("/serving/default/g", json={})
        assert answer.status == 500
        found = await answer.json()
        assert found["error"] == "Failed to process request"
        assert url in found["cause"]


async def test_a_graph_that_asks_itself_comes_to_an_end(serving: Serving) -> None:
    itself = {"serviceUrl": "http://g-default.example.com/"}
    async with asking(serving, {"root": node("Sequence", itself)}) as gateway:
        answer = await gateway.post("/serving/default/g", json={})
        assert answer.status == 508
        assert "one asks itself" in (await answer.json())["cause"]


async def test_an_empty_request_is_one_and_what_is_no_json_is_not_called_so(
    serving: Serving,
) -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.Response(body=b"<" + await request.read() + b">")

    async with answering(tell) as step:
        nodes = {"root": node("Sequence", {"serviceUrl": str(step.make_url("/"))})}
        async with asking(serving, nodes, routerTimeouts={"serverWrite": 60}) as gateway:
            answer = await gateway.post("/serving/default/g")
            assert (answer.status, await answer.read()) == (200, b"<>")
            assert answer.content_type != "application/json"


async def test_only_names_within_the_cluster_are_services(serving: Serving) -> None:
    spec = {"ports": [{"port": 80}], "clusterIP": "10.96.7.7"}
    seen = asyncio.Event()
    services = serving.context.informers.of(SERVICES)
    services.add_handler(lambda _, new: seen.set() if new and name(new) == "model" else None)
    await serving.apply(SERVICES, new_object(SERVICES, "model", NAMESPACE, spec=spec))
    await asyncio.wait_for(seen.wait(), 10)
    router = GraphRouter(serving.context, Connections(), lambda _: False)
    within = "http://10.96.7.7:80/x"
    for host, expected in {
        "model.default": within,
        "model.default.svc": within,
        "model.default.svc.cluster.local": within,
        "model.default.example.com": "http://model.default.example.com/x",
        "model": "http://model/x",
    }.items():
        asked = router.url_of(graph(), {"serviceUrl": f"http://{host}/x"}, "")
        assert asked == (expected, host if expected == within else "")
