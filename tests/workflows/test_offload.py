"""Workflows that outgrow an object keep their nodes in the metadata database."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.workflows.conftest import Cluster, cluster_in

from kubeling.kube.errors import Conflict
from kubeling.kube.objects import Obj, uid
from kubeling.workflows.node_store import NodeStore
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.operator import WorkflowOperator
from kubeling.workflows.resources import WORKFLOWS

BIG = "x" * 80_000
"""As an input of fifteen steps, more than a status may hold."""


def workflow(**spec: object) -> Obj:
    """Fifteen steps with a large input each, then one to wait at and one more."""
    big = {"name": "big", "value": "{{workflow.parameters.big}}"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "large"},
        "spec": {
            "entrypoint": "main",
            "arguments": {"parameters": [{"name": "big", "value": BIG}]},
            "templates": [
                {
                    "name": "main",
                    "steps": [
                        [
                            {
                                "name": "each",
                                "template": "each",
                                "withSequence": {"count": "15"},
                                "arguments": {"parameters": [big]},
                            }
                        ],
                        [{"name": "wait", "template": "wait"}],
                        [{"name": "last", "template": "last"}],
                    ],
                },
                {
                    "name": "each",
                    "inputs": {"parameters": [{"name": "big"}]},
                    "container": {"image": "busybox", "command": ["sh", "-c", "echo run >>runs"]},
                },
                {"name": "wait", "suspend": {}},
                {"name": "last", "container": {"image": "busybox", "command": ["true"]}},
            ],
            **spec,
        },
    }


@pytest.fixture
async def idle() -> AsyncIterator[Cluster]:
    """A platform whose controllers a test starts itself."""
    with tempfile.TemporaryDirectory(prefix="kubeling-", ignore_cleanup_errors=True) as folder:
        async with cluster_in(Path(folder)) as cluster:
            yield cluster


def waiting(workflow: Obj) -> bool:
    return bool(workflow["status"].get("progress") == "15/15")


async def test_it_runs_to_its_end_through_restarts_and_is_small(idle: Cluster) -> None:
    offload = Offload(idle.context)
    operator = WorkflowOperator(idle.client, idle.context.clock, offload)
    await idle.client.create(WORKFLOWS, workflow(), "default")
    async with idle.controllers():
        await idle.seen("large", waiting)
    async with idle.controllers():
        seen = await idle.seen("large", lambda wf: "offloadNodeStatusVersion" in wf["status"])
        assert "nodes" not in seen["status"]
        assert len(msgspec.json.encode(seen)) < 200_000
        nodes = (await operator.get("default", "large"))["status"]["nodes"].values()
        assert [n["phase"] for n in nodes if n["displayName"] == "wait"] == ["Running"]
        await operator.resume("default", "large")
        done = await idle.ended("large")
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["progress"] == "16/16"
    nodes = (await offload.hydrated(done))["status"]["nodes"].values()
    assert len(nodes) == 1 + 3 + 15 + 2
    assert {node["phase"] for node in nodes} == {"Succeeded"}
    assert (idle.workspace / "runs").read_text().split() == ["run"] * 15


async def test_its_nodes_go_with_it(idle: Cluster) -> None:
    async with idle.controllers():
        created = await idle.client.create(WORKFLOWS, workflow(), "default")
        await idle.seen("large", waiting)
        store = await Offload(idle.context).store()
        assert len((await store.load(uid(created)))[1]) > 15
    await idle.client.delete(WORKFLOWS, "large", "default")
    # Whatever a controller did not see go, the next one finds.
    await store.sweep([])
    assert await store.load(uid(created)) == (0, {})


async def test_two_writers_do_not_write_over_each_other(tmp_path: Path) -> None:
    from kubeling.metadata.database import Database

    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")
    store = NodeStore(database)
    version = await store.save("u", {"a": (0, b'{"phase":"Running"}'), "b": (1, b"{}")}, None)
    later = await store.save("u", {"a": (0, b'{"phase":"Succeeded"}')}, version)
    with pytest.raises(Conflict):
        await store.save("u", {"a": (0, b'{"phase":"Failed"}')}, version)
    assert await store.load("u") == (later, {"a": {"phase": "Succeeded"}, "b": {}})
    await store.save("u", {"b": (0, b"{}")}, later, whole=True)
    assert list((await store.load("u"))[1]) == ["b"]
    await store.forget(["u"])
    assert await store.load("u") == (0, {})
    database.close()
