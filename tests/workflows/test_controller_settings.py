"""What holds for all workflows of a platform: how many run, how fast, with what, and for how long.

The settings are those of upstream's ``workflow-controller-configmap``.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workflows.conftest import Cluster, cluster_in
from tests.workflows.test_running import nodes, workflow
from tests.workflows.test_synchronization import INSIDE, create, one, phase

from kubeling.kube.clock import FakeClock
from kubeling.kube.objects import Key, Obj
from kubeling.kube.resources import NAMESPACES, PODS
from kubeling.workflows.admittance import POSTPONED
from kubeling.workflows.resources import WORKFLOW_TEMPLATES, WORKFLOWS
from kubeling.workflows.throttle import Rate, Throttle


@pytest.fixture
async def idle() -> AsyncIterator[Cluster]:
    """A platform whose controllers a test starts itself."""
    with tempfile.TemporaryDirectory(prefix="kubeling-", ignore_cleanup_errors=True) as folder:
        async with cluster_in(Path(folder)) as cluster:
            yield cluster


def configure(cluster: Cluster, **settings: Any) -> None:
    """Sets what begins with ``workflows.``"""
    rooms = {"workflows": settings}
    cluster.context.settings = replace(cluster.context.settings, rooms=rooms)


def urgent(name: str, priority: int) -> Obj:
    body = one(name, f"echo {name} >>order")
    body["spec"]["priority"] = priority
    return body


async def test_no_more_workflows_run_than_are_to(idle: Cluster) -> None:
    configure(idle, parallelism=1)
    async with idle.controllers():
        await create(idle, one("first", INSIDE))
        await idle.seen("first", phase("Running"))
        await create(idle, urgent("patient", 0), urgent("hasty", 5))
        for name in ("patient", "hasty"):
            waits = await idle.seen(name, phase("Pending"))
            assert waits["status"] == {"phase": "Pending", "message": POSTPONED}
            assert waits["metadata"]["labels"]["workflows.argoproj.io/phase"] == "Pending"
    # A restart neither forgets who runs nor who waits.
    async with idle.controllers():
        (idle.workspace / "go").touch()
        for name in ("first", "patient", "hasty"):
            done = await idle.ended(name)
            assert done["status"]["phase"] == "Succeeded"
            assert "message" not in done["status"]
    assert (idle.workspace / "order").read_text().split() == ["hasty", "patient"]


async def test_a_namespace_has_a_limit_by_its_label(cluster: Cluster) -> None:
    label = "workflows.argoproj.io/parallelism-limit"
    limit: Obj = {"metadata": {"labels": {label: "1"}}}
    await cluster.client.patch(NAMESPACES, "default", limit)
    await create(cluster, one("first", INSIDE))
    await cluster.seen("first", phase("Running"))
    await create(cluster, one("second"))
    await cluster.seen("second", phase("Pending"))
    limit["metadata"]["labels"][label] = None
    await cluster.client.patch(NAMESPACES, "default", limit)
    await cluster.ended("second")
    (cluster.workspace / "go").touch()
    await cluster.ended("first")


async def test_one_that_waits_can_be_terminated(idle: Cluster) -> None:
    configure(idle, namespace_parallelism=1)
    async with idle.controllers():
        await create(idle, one("first", INSIDE), one("second"))
        await idle.seen("second", phase("Pending"))
        patch = {"spec": {"shutdown": "Terminate"}}
        await idle.client.patch(WORKFLOWS, "second", patch, "default")
        done = await idle.ended("second")
        assert done["status"]["message"] == "Stopped with strategy 'Terminate'"
        (idle.workspace / "go").touch()
        await idle.ended("first")


async def test_pods_are_created_no_faster_than_allowed(idle: Cluster) -> None:
    configure(idle, resource_rate_limit={"limit": 20, "burst": 1})
    body = workflow(
        {
            "name": "main",
            "steps": [[{"name": "s", "template": "work", "withSequence": {"count": 5}}]],
        },
        {"name": "work", "script": {"image": "bash", "command": ["bash"], "source": "true"}},
    )
    async with idle.controllers():
        done = await idle.run(body)
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["progress"] == "5/5"


async def test_workflows_are_given_what_they_do_not_say(idle: Cluster) -> None:
    defaults = {
        "metadata": {"labels": {"team": "blue", "cost": "shared"}},
        "spec": {
            "ttlStrategy": {"secondsAfterSuccess": 600, "secondsAfterFailure": 900},
            "arguments": {"parameters": [{"name": "who", "value": "nobody"}]},
            "podMetadata": {"labels": {"team": "blue"}},
        },
    }
    configure(idle, workflow_defaults=defaults)
    template = {
        "metadata": {"name": "greet"},
        "spec": {
            "entrypoint": "main",
            "ttlStrategy": {"secondsAfterSuccess": 300},
            "templates": [
                {
                    "name": "main",
                    "script": {
                        "image": "bash",
                        "command": ["bash"],
                        "source": "echo {{workflow.parameters.who}}",
                    },
                }
            ],
        },
    }
    await idle.client.create(WORKFLOW_TEMPLATES, template, "default")
    body = {
        "metadata": {"name": "hello", "labels": {"cost": "own"}},
        "spec": {"workflowTemplateRef": {"name": "greet"}},
    }
    async with idle.controllers():
        done = await idle.run(body)
    assert done["metadata"]["labels"].items() >= {"team": "blue", "cost": "own"}.items()
    assert done["spec"]["ttlStrategy"] == {"secondsAfterSuccess": 300, "secondsAfterFailure": 900}
    [pod] = (await idle.list(PODS)).items
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert await idle.log("hello") == "nobody\n"


async def test_only_so_many_ended_workflows_stay(idle: Cluster) -> None:
    configure(idle, retention_policy={"completed": 1, "failed": 0})
    async with idle.controllers():
        await create(idle, one("bad", "exit 1"))
        await idle.gone(WORKFLOWS)
        await idle.run(one("good-1"))
        await create(idle, one("good-2"))
        await idle.gone(WORKFLOWS, keep=1)
        [left] = (await idle.list(WORKFLOWS)).items
    assert left["metadata"]["name"] == "good-2"


@pytest.mark.parametrize("where", ["live", "archived"])
async def test_a_workflow_is_expected_to_take_as_long_as_the_last(
    cluster: Cluster, where: str
) -> None:
    template = {"metadata": {"name": "slow"}, "spec": one("")["spec"]}
    await cluster.client.create(WORKFLOW_TEMPLATES, template, "default")
    reference = {"workflowTemplateRef": {"name": "slow"}}
    before = {"metadata": {"name": "before"}, "spec": {**reference, "suspend": True}}
    await create(cluster, before)
    await cluster.seen("before", phase("Running"))
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:30Z"}
    root = {"id": "before", "name": "before", "type": "Pod", "phase": "Succeeded", **times}
    ended = {"phase": "Succeeded", **times, "nodes": {"before": root}}
    await cluster.client.patch_status(WORKFLOWS, "before", ended, "default")
    await cluster.ended("before")
    if where == "archived":
        await cluster.client.delete(WORKFLOWS, "before", "default")
        await cluster.gone(WORKFLOWS)
    done = await cluster.run({"metadata": {"name": "after"}, "spec": reference})
    assert done["status"]["estimatedDuration"] == 90
    assert nodes(done)["after"]["estimatedDuration"] == 90


class TestThrottle:
    @given(
        limit=st.integers(0, 3),
        of_namespaces=st.integers(0, 2),
        steps=st.lists(
            st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 5)), max_size=60
        ),
    )
    def test_never_more_than_may_and_never_less_than_could(
        self, limit: int, of_namespaces: int, steps: list[tuple[bool, str, int]]
    ) -> None:
        running: set[Key] = set()
        waiting: set[Key] = set()
        throttle = Throttle(limit, of_namespaces, running.add)
        for begins, where, number in steps:
            key = Key(where, str(number))
            if begins:
                (running if throttle.admit(key, number, "") else waiting).add(key)
            else:
                throttle.release(key)
                running.discard(key)
                waiting.discard(key)
            waiting -= running
            assert not limit or len(running) <= limit
            for here in "ab":
                inside = [key for key in running if key.namespace == here]
                assert not of_namespaces or len(inside) <= of_namespaces
                room = not limit or len(running) < limit
                room = room and (not of_namespaces or len(inside) < of_namespaces)
                assert not (room and any(key.namespace == here for key in waiting))

    def test_a_rate_lets_a_burst_pass_and_then_so_many_a_second(self) -> None:
        clock = FakeClock()
        rate = Rate(2.0, 3, clock.monotonic)
        assert rate.take(5) == 3
        assert (rate.take(1), rate.wait) == (0, 0.5)
        clock.advance(1)
        assert rate.take(5) == 2
        clock.advance(100)
        assert rate.take(5) == 3
