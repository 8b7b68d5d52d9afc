"""custom.metrics.k8s.io: what pods expose, as autoscalers ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.custommetrics.exposition import Series, parse_exposition
from kubeling.apiserver.custommetrics.samples import Samples
from kubeling.kube import selectors
from kubeling.kube.errors import MethodNotAllowed, NotFound
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import PODS, SERVICES
from kubeling.kube.selectors import LabelSelector

ROOT = "/apis/custom.metrics.k8s.io/v1beta2"
EVERYTHING = LabelSelector()
EXPOSITION = r"""
# HELP requests_total The requests.
# TYPE requests_total counter
requests_total{method="get",path="/a \"b\" \\ c"} 1027 1395066363000
requests_total{method="post"} 3

queue_length 12.5
inf{le="+Inf"} +Inf
not a line of metrics
"""


def test_names_labels_and_values_are_read() -> None:
    assert list(parse_exposition(EXPOSITION)) == [
        Series("requests_total", (("method", "get"), ("path", '/a "b" \\ c')), 1027.0),
        Series("requests_total", (("method", "post"),), 3.0),
        Series("queue_length", (), 12.5),
        Series("inf", (("le", "+Inf"),), float("inf")),
    ]


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def written(series: Series) -> str:
    pairs = ",".join(f'{key}="{quoted(value)}"' for key, value in series.labels)
    return f"{series.name}{{{pairs}}} {series.value!r}"


labels_ = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"])))
lines = st.builds(
    Series,
    names,
    labels_.map(lambda found: tuple(sorted(found.items()))),
    st.floats(allow_nan=False),
)


@given(st.lists(lines))
def test_whatever_is_written_is_read_back(series: list[Series]) -> None:
    assert list(parse_exposition("\n".join(map(written, series)))) == series


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    list(parse_exposition(text))


def samples(*moments: tuple[float, str]) -> Samples:
    found = Samples()
    for at, text in moments:
        found.add(at, parse_exposition(text))
    return found


def test_a_counter_is_its_increase_a_second() -> None:
    found = samples((0, "hits_total 10\nbusy_seconds_total 1"),
                    (15, "hits_total 40\nbusy_seconds_total 7"))  # fmt: skip
    assert found.value("hits", EVERYTHING) == (2.0, 15)
    assert found.value("busy", EVERYTHING) == (0.4, 15)
    assert found.value("hits_total", EVERYTHING) is None
    assert samples((0, "hits_total 10")).value("hits", EVERYTHING) is None


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    found = samples((0, "hits_total 100"), (10, "hits_total 20"), (20, "hits_total 60"))
    assert found.value("hits", EVERYTHING) == (3.0, 20)


def test_rates_look_back_for_a_minute() -> None:
    found = samples(*((15.0 * n, f"hits_total {n * n}") for n in range(12)))
    assert found.value("hits", EVERYTHING) == ((121 - 49) / 60, 60)


def test_series_are_summed_and_chosen_by_their_labels() -> None:
    found = samples((0, 'queue{kind="a"} 2\nqueue{kind="b"} 3'))
    assert found.value("queue", EVERYTHING) == (5.0, None)
    assert found.value("queue", selectors.parse("kind=b")) == (3.0, None)
    assert found.value("queue", selectors.parse("kind=c")) is None


@contextlib.asynccontextmanager
async def pods(running: RunningServer, **texts: str) -> AsyncIterator[None]:
    """Pods of the app ``web`` that expose texts, on this machine."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=texts[request.path.strip("/")])

    app = web.Application()
    app.router.add_get("/{pod}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for title in texts:
        said = {"scrape": "true", "port": str(runner.addresses[0][1]), "path": f"/{title}"}
        spec = {"containers": [{"name": "main", "image": "pause"}]}
        pod = new_object(
            PODS, title, "default", labels={"app": "web"}, spec=spec,
            annotations={f"prometheus.io/{key}": value for key, value in said.items()},
        )  # fmt: skip
        await running.client.create(PODS, pod)
        status = {"phase": "Running", "podIP": "127.0.0.1"}
        await running.client.patch_status(PODS, title, status, "default")
    try:
        yield
    finally:
        await runner.cleanup()


async def ask(running: RunningServer, path: str, **query: str) -> list[Obj]:
    answer = await running.client.raw("GET", f"{ROOT}/namespaces/default/{path}", query=query)
    assert answer["kind"] == "MetricValueList"
    items: list[Any] = answer["items"]
    return items


async def test_pods_are_asked_when_somebody_asks() -> None:
    async with running_server() as running, pods(running, a="queue 4", b="queue 3", c="x 1"):
        items = await ask(running, "pods/*/queue", labelSelector="app=web")
        assert [(i["describedObject"]["name"], i["value"]) for i in items] == [
            ("a", "4"),
            ("b", "3"),
        ]
        assert items[0]["describedObject"] == {
            "kind": "Pod", "namespace": "default", "name": "a", "apiVersion": "v1",
        }  # fmt: skip
        assert items[0]["metric"] == {"name": "queue", "selector": None}
        (one,) = await ask(running, "pods/b/queue")
        assert one["value"] == "3"
        discovered = await running.client.raw("GET", ROOT)
        assert "pods/queue" in {entry["name"] for entry in discovered["resources"]}


async def test_services_workloads_and_namespaces_have_the_sum_of_their_pods() -> None:
    async with running_server() as running, pods(running, a="queue 4", b="queue 3.25"):
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        await running.client.create(SERVICES, new_object(SERVICES, "web", "default", spec=spec))
        (service,) = await ask(running, "services/web/queue")
        assert service["value"] == "7250m"
        (everything,) = await ask(running, "metrics/queue")
        assert everything["describedObject"]["kind"] == "Namespace"
        assert everything["value"] == "7250m"


async def test_a_metric_that_nobody_exposes_is_named() -> None:
    async with running_server() as running, pods(running, a="queue 4"):
        with pytest.raises(NotFound, match=r"could not find the metric other for pods"):
            await ask(running, "pods/*/other")
        with pytest.raises(NotFound, match=r"could not find the metric other for pods a"):
            await ask(running, "pods/a/other")
        with pytest.raises(MethodNotAllowed):
            await running.client.raw("POST", f"{ROOT}/namespaces/default/pods/*/queue", body={})
