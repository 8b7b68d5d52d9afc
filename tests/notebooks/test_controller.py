"""A notebook follows its pod, stops and starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.workloads.cluster import Cluster, PretendNode
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.workloads import garbage, statefulsets
from kubeling.kube.controller import run_controllers
from kubeling.kube.events import EventRecorder
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import EVENTS, PODS, SERVICES, STATEFUL_SETS
from kubeling.notebooks.component import COMPONENT
from kubeling.notebooks.plan import STOPPED
from kubeling.notebooks.resources import NOTEBOOKS


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with (
        running_server(COMPONENT, data_dir=tmp_path) as running,
        Informers(running.client) as informers,
    ):
        context = Context(running.client, informers, Settings(tmp_path, tmp_path))
        controllers = [
            *COMPONENT.controllers(context),
            statefulsets.controller(context),
            garbage.controller(context),
        ]
        node = PretendNode(running.client)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run_controllers(controllers, informers)),
                group.create_task(node.run(informers)),
            ]
            yield Cluster(running.client, informers, node)
            for task in tasks:
                task.cancel()


def notebook() -> Obj:
    containers = [{"name": "nb", "image": "jupyter/minimal-notebook"}]
    return new_object(
        NOTEBOOKS, "nb", "default", spec={"template": {"spec": {"containers": containers}}}
    )


def ready(count: int):
    return lambda n: (n.get("status") or {}).get("readyReplicas") == count


async def test_a_notebook_runs_stops_and_runs_again(cluster: Cluster) -> None:
    await cluster.client.create(NOTEBOOKS, notebook())
    await cluster.until(NOTEBOOKS, "nb", ready(1))
    service = await cluster.client.get(SERVICES, "nb", "default")
    assert service["spec"]["ports"][0]["targetPort"] == 8888
    stop = {"metadata": {"annotations": {STOPPED: "2026-01-01T00:00:00Z"}}}
    await cluster.client.patch(NOTEBOOKS, "nb", stop, "default")
    await cluster.until_gone(PODS, "nb-0")
    await cluster.until(NOTEBOOKS, "nb", ready(0))
    start = {"metadata": {"annotations": {STOPPED: None}}}
    await cluster.client.patch(NOTEBOOKS, "nb", start, "default")
    await cluster.until(NOTEBOOKS, "nb", ready(1))


async def test_deleting_it_leaves_nothing(cluster: Cluster) -> None:
    await cluster.client.create(NOTEBOOKS, notebook())
    await cluster.until(NOTEBOOKS, "nb", ready(1))
    await cluster.client.delete(NOTEBOOKS, "nb", "default", propagation="Foreground")
    await cluster.until_gone(NOTEBOOKS, "nb")
    await cluster.until_gone(STATEFUL_SETS, "nb")
    await cluster.until_gone(PODS, "nb-0")


async def test_its_pods_warnings_are_shown_once_on_the_notebook(cluster: Cluster) -> None:
    await cluster.client.create(NOTEBOOKS, notebook())
    await cluster.until(NOTEBOOKS, "nb", ready(1))
    pod = await cluster.client.get(PODS, "nb-0", "default")
    kubelet = EventRecorder(cluster.client, "kubelet")
    await kubelet.warning(pod, "Unhealthy", "it does not answer")

    def reissued(events: list[Obj]) -> list[Obj]:
        return [e for e in events if e["involvedObject"]["kind"] == "Notebook"]

    events = await cluster.until_list(EVENTS, lambda events: bool(reissued(events)))
    (event,) = reissued(events)
    assert event["message"] == "Reissued from pod/nb-0: it does not answer"
    await cluster.client.patch(NOTEBOOKS, "nb", {"metadata": {"labels": {"a": "b"}}}, "default")
    await cluster.until(SERVICES, "nb", lambda _: True)
    await kubelet.warning(pod, "Unhealthy", "it still does not answer")
    events = await cluster.until_list(EVENTS, lambda events: len(reissued(events)) == 2)
    assert {event["count"] for event in reissued(events)} == {1}
