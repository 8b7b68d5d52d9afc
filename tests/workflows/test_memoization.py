"""Steps whose outputs are kept, and taken from there the next time."""

from __future__ import annotations

import msgspec
import pytest
from tests.workflows.conftest import Cluster
from tests.workflows.test_running import nodes, workflow

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.workflows.memoization import LABEL


def memoized(key: str = "k-{{inputs.parameters.n}}", **more: object) -> Obj:
    """Makes something out of a number, which is kept."""
    memoize = {"key": key, "cache": {"configMap": {"name": "cache"}}, **more}
    made = {"name": "made", "valueFrom": {"path": "/tmp/made"}}
    given = {"parameters": [{"name": "n", "value": "7"}]}
    return workflow(
        {"name": "main", "steps": [
            [{"name": "make", "template": "make", "arguments": given}],
            [{"name": "use", "template": "use", "arguments": {"parameters": [
                {"name": "text", "value": "{{steps.make.outputs.parameters.made}}"},
            ]}}],
        ]},
        {"name": "make", "memoize": memoize, "inputs": {"parameters": [{"name": "n"}]},
         "outputs": {"parameters": [made]},
         "script": {"image": "bash", "command": ["bash"],
                    "source": "echo ran >>runs; echo -n 49 >/tmp/made"}},
        {"name": "use", "inputs": {"parameters": [{"name": "text"}]},
         "script": {"image": "bash", "command": ["bash"],
                    "source": "echo {{inputs.parameters.text}} >>used"}},
    )  # fmt: skip


async def test_what_was_made_once_is_not_made_again(cluster: Cluster) -> None:
    first = await cluster.run(memoized())
    assert first["status"]["phase"] == "Succeeded", first["status"]
    assert nodes(first)["make"]["memoizationStatus"] == {
        "hit": False, "key": "k-7", "cacheName": "cache",
    }  # fmt: skip
    kept = await cluster.client.get(CONFIG_MAPS, "cache", "default")
    assert kept["metadata"]["labels"] == {LABEL: "Cache"}
    entry = msgspec.json.decode(kept["data"]["k-7"])
    assert entry["nodeID"] == nodes(first)["make"]["id"]
    assert entry["outputs"]["parameters"][0]["value"] == "49"

    second = await cluster.run(memoized(maxAge="1h"))
    assert second["status"]["phase"] == "Succeeded", second["status"]
    assert nodes(second)["make"]["memoizationStatus"]["hit"] is True
    assert second["status"]["progress"] == "2/2"
    assert (cluster.workspace / "runs").read_text().split() == ["ran"]
    assert (cluster.workspace / "used").read_text().split() == ["49", "49"]


async def test_what_is_too_old_is_made_again(cluster: Cluster) -> None:
    entry = {
        "nodeID": "other",
        "outputs": {"parameters": [{"name": "made", "value": "old"}]},
        "creationTimestamp": "2020-01-01T00:00:00Z",
    }
    cache = {
        "metadata": {"name": "cache", "labels": {LABEL: "Cache"}},
        "data": {"k-7": msgspec.json.encode(entry).decode()},
    }
    await cluster.client.create(CONFIG_MAPS, cache, "default")
    done = await cluster.run(memoized(maxAge="1h"))
    assert nodes(done)["make"]["memoizationStatus"]["hit"] is False
    assert (cluster.workspace / "used").read_text().split() == ["49"]
    done = await cluster.run(memoized("k-7", maxAge="10s"))
    assert nodes(done)["make"]["memoizationStatus"]["hit"] is True


async def test_a_config_map_of_somebody_else_is_not_touched(cluster: Cluster) -> None:
    mine = {"metadata": {"name": "cache"}, "data": {"k-7": "mine"}}
    await cluster.client.create(CONFIG_MAPS, mine, "default")
    done = await cluster.run(memoized())
    assert nodes(done)["make"]["phase"] == "Error"
    assert nodes(done)["make"]["message"] == (
        f"memoization configmap doesn't have {LABEL} label, refusing to use it"
    )


async def test_a_cache_has_a_name_and_a_key(cluster: Cluster) -> None:
    with pytest.raises(Invalid, match=r"memoize\.key: Required value"):
        await cluster.run(memoized(""))
