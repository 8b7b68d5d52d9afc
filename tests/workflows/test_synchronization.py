"""Mutexes and semaphores between workflows and between the steps of one."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflows.conftest import Cluster, cluster_in
from tests.workflows.test_running import nodes, workflow

from kubeling.kube.errors import Invalid, ServiceUnavailable
from kubeling.kube.objects import Key, Obj
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.workflows.locks import Lock, LockTable
from kubeling.workflows.outage import Outage
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.sync_limits import SyncLimits

MUTEX = {"mutexes": [{"name": "door"}]}
SEMAPHORE: Any = {"semaphores": [{"configMapKeyRef": {"name": "limits", "key": "seats"}}]}
IN_DATABASE: Any = {"semaphores": [{"database": {"key": "seats"}}]}
INSIDE = "echo in >>log; while [ ! -e go ]; do sleep 0.02; done; echo out >>log"


def one(name: str, source: str = "true", **more: Any) -> Obj:
    """A workflow of one script."""
    script = {"image": "bash", "command": ["bash"], "source": source}
    body = workflow({"name": "main", "script": script, **more})
    body["metadata"] = {"name": name}
    return body


def locked(name: str, source: str = INSIDE, **more: Any) -> Obj:
    """A workflow that as a whole needs the mutex."""
    body = one(name, source)
    body["spec"].update({"synchronization": MUTEX, **more})
    return body


@pytest.fixture
async def idle() -> AsyncIterator[Cluster]:
    """A platform whose controllers a test starts itself."""
    with tempfile.TemporaryDirectory(prefix="kubeling-", ignore_cleanup_errors=True) as folder:
        async with cluster_in(Path(folder)) as cluster:
            yield cluster


def phase(wanted: str) -> Any:
    return lambda wf: wf["status"].get("phase") == wanted


async def create(cluster: Cluster, *bodies: Obj) -> None:
    for body in bodies:
        await cluster.client.create(WORKFLOWS, body, "default")


async def test_the_second_waits_and_says_for_what(cluster: Cluster) -> None:
    await create(cluster, locked("first"))
    await cluster.seen("first", phase("Running"))
    await create(cluster, locked("second"))
    waits = await cluster.seen("second", phase("Pending"))
    assert waits["status"]["message"] == ("Waiting for default/Mutex/door lock. Lock status: 0/1")
    mutex = {"mutex": "default/Mutex/door", "holder": "default/first"}
    assert waits["status"]["synchronization"] == {"mutex": {"waiting": [mutex]}}
    assert "nodes" not in waits["status"]
    holds = await cluster.client.get(WORKFLOWS, "first", "default")
    assert holds["status"]["synchronization"] == {"mutex": {"holding": [mutex]}}
    (cluster.workspace / "go").touch()
    for name in ("first", "second"):
        done = await cluster.ended(name)
        assert done["status"]["phase"] == "Succeeded"
        assert "synchronization" not in done["status"]
        assert "message" not in done["status"]
    assert (cluster.workspace / "log").read_text().split() == ["in", "out"] * 2


async def test_steps_wait_one_by_one(cluster: Cluster) -> None:
    (cluster.workspace / "go").touch()
    done = await cluster.run(
        workflow(
            {"name": "main", "steps": [
                [{"name": "s", "template": "s", "withSequence": {"count": "4"}}],
            ]},
            {"name": "s", "synchronization": MUTEX, "retryStrategy": {"limit": 1},
             "script": {"image": "bash", "command": ["bash"], "source": INSIDE}},
        )
    )  # fmt: skip
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert (cluster.workspace / "log").read_text().split() == ["in", "out"] * 4
    assert all("message" not in node for node in done["status"]["nodes"].values())


async def test_a_restart_forgets_no_holder(idle: Cluster) -> None:
    async with idle.controllers():
        await create(idle, locked("first"))
        await idle.seen("first", phase("Running"))
    await create(idle, locked("second"))
    async with idle.controllers():
        await idle.seen("second", phase("Pending"))
        (idle.workspace / "go").touch()
        await idle.ended("second")
    assert (idle.workspace / "log").read_text().split() == ["in", "out"] * 2


async def test_what_a_deleted_workflow_held_is_free(cluster: Cluster) -> None:
    await create(cluster, locked("first"))
    await cluster.seen("first", phase("Running"))
    await create(cluster, locked("second", "true"))
    await cluster.seen("second", phase("Pending"))
    await cluster.client.delete(WORKFLOWS, "first", "default")
    assert (await cluster.ended("second"))["status"]["phase"] == "Succeeded"


async def test_a_waiting_workflow_can_be_terminated(cluster: Cluster) -> None:
    await create(cluster, locked("first"), locked("second"))
    await cluster.seen("second", phase("Pending"))
    patch = {"spec": {"shutdown": "Terminate"}}
    await cluster.client.patch(WORKFLOWS, "second", patch, "default")
    done = await cluster.ended("second")
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["message"] == "Stopped with strategy 'Terminate'"


async def test_a_semaphores_limit_can_be_raised(cluster: Cluster) -> None:
    limits = {"metadata": {"name": "limits"}, "data": {"seats": "1"}}
    await cluster.client.create(CONFIG_MAPS, limits, "default")
    await create(cluster, one("a", INSIDE, synchronization=SEMAPHORE))
    await cluster.seen("a", lambda wf: nodes(wf)["a"]["phase"] == "Running")
    await create(cluster, one("b", INSIDE, synchronization=SEMAPHORE))
    waits = await cluster.seen("b", lambda wf: "message" in nodes(wf)["b"])
    lock = "default/ConfigMap/limits/seats"
    node = nodes(waits)["b"]
    assert (node["type"], node["phase"]) == ("Pod", "Pending")
    assert node["message"] == f"Waiting for {lock} lock. Lock status: 0/1"
    assert node["synchronizationStatus"] == {"waiting": lock}
    assert waits["status"]["synchronization"] == {
        "semaphore": {"waiting": [{"semaphore": lock, "holders": ["default/a/a"]}]}
    }
    await cluster.client.patch(CONFIG_MAPS, "limits", {"data": {"seats": "2"}}, "default")
    runs = await cluster.seen("b", lambda wf: nodes(wf)["b"]["phase"] == "Running")
    assert runs["status"]["synchronization"] == {
        "semaphore": {"holding": [{"semaphore": lock, "holders": ["default/b/b"]}]}
    }
    (cluster.workspace / "go").touch()
    await cluster.ended("a")
    await cluster.ended("b")


async def test_a_semaphore_without_a_limit_is_an_error(cluster: Cluster) -> None:
    body = one("lost")
    body["spec"]["synchronization"] = SEMAPHORE
    done = await cluster.run(body)
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["message"] == (
        "Failed to acquire the synchronization lock. "
        "failed to initialize semaphore default/ConfigMap/limits/seats with limit"
    )


async def test_locks_in_a_database_have_their_limits_there(cluster: Cluster) -> None:
    limits = await SyncLimits(cluster.context).store()
    await limits.create("default/seats", 1)
    both = {"semaphores": [{"database": {"key": "seats"}}], "mutexes": [{"name": "door"}]}
    await create(cluster, one("a", INSIDE, synchronization=IN_DATABASE))
    await cluster.seen("a", lambda wf: nodes(wf)["a"]["phase"] == "Running")
    await create(cluster, one("b", INSIDE, synchronization=both))
    waits = await cluster.seen("b", lambda wf: "message" in nodes(wf)["b"])
    lock = "default/Database/seats"
    assert nodes(waits)["b"]["message"] == f"Waiting for {lock} lock. Lock status: 0/1"
    # As the manual of Argo says, by SQL or through the API: it is noticed while one waits.
    await limits.update("default/seats", 2)
    runs = await cluster.seen("b", lambda wf: nodes(wf)["b"]["phase"] == "Running")
    assert runs["status"]["synchronization"] == {
        "semaphore": {"holding": [{"semaphore": lock, "holders": ["default/b/b"]}]},
        "mutex": {"holding": [{"mutex": "default/Mutex/door", "holder": "default/b/b"}]},
    }
    (cluster.workspace / "go").touch()
    for name in ("a", "b"):
        assert (await cluster.ended(name))["status"]["phase"] == "Succeeded"


def test_a_database_that_is_away_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("kubeling.test"), "limits of semaphores")
    away = ServiceUnavailable("the metadata database cannot be reached; it is tried again")
    for _ in range(5):
        outage.goes_on(away)
    outage.is_over()
    outage.is_over()
    assert [record.getMessage() for record in caplog.records] == [
        f"limits of semaphores: {away}",
        "limits of semaphores: read again",
    ]
    assert not any(record.exc_info for record in caplog.records)


async def test_a_mutex_in_the_database_is_one_of_its_own(cluster: Cluster) -> None:
    mutex = {"mutexes": [{"name": "door", "database": True}]}
    await create(cluster, locked("plain"))
    await cluster.seen("plain", phase("Running"))
    await create(cluster, one("first", INSIDE, synchronization=mutex))
    await cluster.seen("first", lambda wf: nodes(wf)["first"]["phase"] == "Running")
    await create(cluster, one("second", synchronization=mutex))
    waits = await cluster.seen("second", lambda wf: "message" in nodes(wf)["second"])
    assert waits["status"]["synchronization"]["mutex"]["waiting"] == [
        {"mutex": "default/Database/door", "holder": "default/first/first"}
    ]
    (cluster.workspace / "go").touch()
    for name in ("plain", "first", "second"):
        assert (await cluster.ended(name))["status"]["phase"] == "Succeeded"


async def test_a_semaphore_without_a_row_is_an_error(cluster: Cluster) -> None:
    body = one("lost")
    body["spec"]["synchronization"] = IN_DATABASE
    assert (await cluster.run(body))["status"]["message"].endswith(
        "failed to initialize semaphore default/Database/seats with limit"
    )


async def test_a_limit_is_in_one_place(cluster: Cluster) -> None:
    twice = {"semaphores": [{**SEMAPHORE["semaphores"][0], **IN_DATABASE["semaphores"][0]}]}
    with pytest.raises(Invalid, match=r"semaphores\[0\]\.configMapKeyRef: Forbidden"):
        await create(cluster, one("twice", synchronization=twice))


class TestTable:
    def test_priority_goes_before_age(self) -> None:
        woken: list[Key] = []
        table = LockTable(woken.append)
        lock = Lock("ns/Mutex/m", "Mutex")
        assert table.acquire("ns/a", [lock], 0, "1") is None
        assert table.acquire("ns/old", [lock], 0, "2") is not None
        assert table.acquire("ns/new", [lock], 0, "3") is not None
        assert table.acquire("ns/urgent", [lock], 9, "4") is not None
        order = []
        for holder in ("ns/a", "ns/urgent", "ns/old"):
            table.release(holder)
            order.append(woken[-1].name)
            assert table.acquire(f"ns/{woken[-1].name}", [lock], 0, "") is None
        assert order == ["urgent", "old", "new"]

    def test_several_locks_are_had_together_or_not_at_all(self) -> None:
        table = LockTable(lambda _: None)
        a, b = Lock("ns/Mutex/a", "Mutex"), Lock("ns/Mutex/b", "Mutex")
        assert table.acquire("ns/one", [b], 0, "1") is None
        assert table.acquire("ns/two", [a, b], 0, "2") is not None
        assert table.holders(a) == []
        table.release("ns/one")
        assert table.acquire("ns/two", [a, b], 0, "2") is None

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_no_more_than_allowed_hold_a_lock_and_all_get_their_turn(
        self, data: st.DataObject
    ) -> None:
        waiting: set[Key] = set()
        table = LockTable(waiting.add)
        limits = {Lock(f"ns/ConfigMap/c/{i}", "Semaphore"): i for i in (1, 2, 3)}
        for lock, limit in limits.items():
            table.set_limit(lock, limit)
        wanted = {
            f"ns/wf{number}/node": data.draw(st.sets(st.sampled_from(list(limits)), min_size=1))
            for number in range(data.draw(st.integers(1, 8)))
        }
        todo, holding = dict(wanted), set[str]()
        while todo or holding:
            for holder in data.draw(st.permutations(list(todo))):
                if table.acquire(holder, sorted(todo[holder]), 0, holder) is None:
                    holding.add(holder)
                    del todo[holder]
            for lock, limit in limits.items():
                assert len(table.holders(lock)) <= limit
            assert holding
            done = data.draw(st.sampled_from(sorted(holding)))
            holding.remove(done)
            table.release(done)
