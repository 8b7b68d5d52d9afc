"""Artifacts, tasks and what made or used which: the operations that upstream plans (KEP-12147)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.conftest import Api
from tests.pipelines.specs import document, step, task
from tests.pipelines.test_api import ROOT, get, post
from tests.pipelines.test_wire import patch

from kubeling.component import Context
from kubeling.kube.client import Client
from kubeling.pipelines.nodes import ArtifactRef, Inputs, Outputs, TaskNode, task_id
from kubeling.pipelines.records import RunRecord
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.store import RunStore

MODEL = ArtifactRef(7, "model", "system.Model", "/nowhere/model", {"depth": 3})
SPEC = document(
    {
        "make": task(),
        "use": {
            **task(),
            "inputs": {
                "artifacts": {
                    "given": {
                        "taskOutputArtifact": {
                            "producerTask": "make",
                            "outputArtifactKey": "model",
                        }
                    }
                },
                "parameters": {
                    "rate": {
                        "taskOutputParameter": {
                            "producerTask": "make",
                            "outputParameterKey": "rate",
                        }
                    }
                },
            },
        },
    },
    {"step": step()},
)


async def executed(api: Api, context: Context) -> str:
    """A run whose two tasks have ended: one made a model, the other used it."""
    run_id = str((await post(api, "/runs", {"pipeline_spec": SPEC}))["run_id"])
    client: Client = context.client
    (run,) = (await client.list(RUNS, "default")).items
    nodes = [
        TaskNode("", "", kind="dag", state="SUCCEEDED"),
        TaskNode(
            "make", "make", "Make", kind="container", state="SUCCEEDED",
            outputs=Outputs({"rate": 0.5}, {"model": [MODEL]}), pod="pod-1",
        ),
        TaskNode(
            "use", "use", "Use", kind="container", state="SUCCEEDED",
            inputs=Inputs({"rate": 0.5}, {"given": [MODEL]}), cached_from="x",
        ),
    ]  # fmt: skip
    now = context.clock.now()
    store = RunStore(await context.open_database())
    await store.save(run, nodes, RunRecord("SUCCEEDED", "", 0, [], now), now)
    return run_id


async def test_tasks_say_where_their_inputs_come_from(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    listed = await get(api, "/tasks", run_id=run_id, order_by="name")
    make, use = listed["tasks"]
    assert (make["type"], make["status"]) == ("RUNTIME", "SUCCEEDED")
    assert make["pods"] == [{"name": "pod-1", "type": "EXECUTOR"}]
    assert make["outputs"]["parameters"] == [{"name": "rate", "value": "0.5"}]
    producer = {"task_name": "make", "key": "rate"}
    assert use["inputs"]["parameters"] == [{"name": "rate", "value": "0.5", "producer": producer}]
    (artifact,) = use["inputs"]["artifacts"]
    assert artifact["producer"] == {"task_name": "make", "key": "model"}
    assert artifact["value"]["type"] == "Model"
    assert use["state"] == "CACHED"
    plain = await get(api, f"/tasks/{use['task_id']}", view="VALUES")
    assert plain["inputs"]["parameters"] == {"rate": 0.5}


async def test_tasks_are_listed_by_run_or_by_parent(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    refused = await get(api, "/tasks", 400)
    assert refused["message"].startswith("run_id: Required value")
    listed = await get(api, "/tasks", parent_id=task_id(run_id, ""))
    assert sorted(found["name"] for found in listed["tasks"]) == ["make", "use"]
    assert await get(api, "/tasks", parent_id=task_id(run_id, "make")) == {}


async def test_links_tell_who_made_and_who_used_an_artifact(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    listed = await get(api, "/artifact_tasks", artifact_ids="7", sort_by="type")
    used, made = listed["artifact_tasks"]
    assert (used["type"], used["artifact_key"], used["producer_key"]) == ("INPUT", "given", "model")
    assert (made["type"], made["task_id"]) == ("OUTPUT", task_id(run_id, "make"))
    only = await get(api, "/artifact_tasks", run_ids=run_id, type="OUTPUT")
    assert [link["id"] for link in only["artifact_tasks"]] == [made["id"]]
    (artifact,) = (await get(api, "/artifacts", run_id=run_id))["artifacts"]
    assert artifact["artifact_id"] == "7"
    assert (artifact["type"], artifact["schema_title"]) == ("Model", "system.Model")
    for operation, value, count in (
        (1, {"string_value": "Model"}, 1),
        ("NOT_EQUALS", {"string_value": "Model"}, 0),
        ("IN", {"string_values": {"values": ["Dataset", "system.Model"]}}, 1),
    ):
        wanted = {"predicates": [{"key": "type", "operation": operation, **value}]}
        assert len((await get(api, "/artifacts", filter=wanted)).get("artifacts", [])) == count


async def test_clients_may_file_tasks_and_artifacts_of_their_own(
    api: Api, context: Context
) -> None:
    run_id = await executed(api, context)
    made = await post(api, "/tasks", {"run_id": run_id, "name": "mine", "type": "RUNTIME"})
    path = f"/tasks/{made['task_id']}"
    await patch(api, path, {"status": "SUCCEEDED", "end_time": "2026-01-01T00:00:00Z"})
    assert (await get(api, path))["status"] == "SUCCEEDED"
    await patch(api, path, {"status": "EXCELLENT"}, 400)
    artifact = {"name": "accuracy", "type": "Metric", "number_value": 0.9}
    body = {"artifact": artifact, "run_id": run_id, "task_id": made["task_id"]}
    filed = await post(api, "/artifacts", body)
    assert filed["number_value"] == 0.9
    listed = await get(api, "/artifact_tasks", task_ids=made["task_id"])
    assert [link["artifact_id"] for link in listed["artifact_tasks"]] == [filed["artifact_id"]]
    best = await get(api, "/runs", sort_by="metric:accuracy desc")
    assert [run["run_id"] for run in best["runs"]] == [run_id]
    # What a run did remains what the platform did.
    run = await get(api, f"/runs/{run_id}")
    assert len(run["run_details"]["task_details"]) == 2
    await post(api, "/artifacts", {**body, "artifact": {"name": "x", "type": "Thing"}}, 400)


async def test_a_link_is_noted_once(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    link = {"artifact_id": "7", "run_id": run_id, "task_id": task_id(run_id, "use")}
    body = {"artifact_task": {**link, "type": "INPUT", "artifact_key": "given"}}
    first = await post(api, "/artifact_tasks", body)
    assert await post(api, "/artifact_tasks", body) == first
    assert (await get(api, "/artifact_tasks"))["total_size"] == 2
    body["artifact_task"]["task_id"] = "elsewhere"
    await post(api, "/artifact_tasks", body, 404)


async def test_tasks_of_the_platform_cannot_be_changed(api: Api, context: Context) -> None:
    run_id = await executed(api, context)
    refused = await patch(api, f"/tasks/{task_id(run_id, 'make')}", {"status": "FAILED"}, 400)
    assert refused["code"] == 9


async def stored(api: Api, context: Context, data: bytes, name: str = "data.txt") -> str:
    """The path of an artifact with the given content."""
    run_id = await executed(api, context)
    artifact = {"name": name, "type": "Dataset"}
    made = await post(api, "/artifacts", {"artifact": artifact, "run_id": run_id})
    path = f"{ROOT}/artifacts/{made['artifact_id']}/content"
    async with api.put(path, data=data) as response:
        assert response.status == 200, await response.text()
    return path


async def test_content_is_uploaded_once_and_read_in_ranges(api: Api, context: Context) -> None:
    data = bytes(range(256)) * 4096
    path = await stored(api, context, data)
    async with api.get(path) as response:
        assert response.headers["Content-Length"] == str(len(data))
        assert await response.read() == data
    async with api.get(path, headers={"Range": "bytes=1000-1999"}) as response:
        assert response.status == 206
        assert await response.read() == data[1000:2000]
    async with api.put(path, data=b"other") as response:
        assert response.status == 400
        assert "never changed" in (await response.json())["message"]


@pytest.mark.parametrize("uri", ["/etc/passwd", "file:///etc/passwd", "ftp://host/file"])
async def test_only_artifacts_are_shown(api: Api, context: Context, uri: str) -> None:
    run_id = await executed(api, context)
    artifact: dict[str, Any] = {"name": "x", "type": "Artifact", "uri": uri}
    made = await post(api, "/artifacts", {"artifact": artifact, "run_id": run_id})
    await get(api, f"/artifacts/{made['artifact_id']}/content", 400)


async def test_a_folder_is_shown_as_its_files(api: Api, context: Context, tmp_path: Path) -> None:
    folder = context.artifacts.folder / "pipelines" / "default" / "some"
    folder.mkdir(parents=True)
    (folder / "part.json").write_text(json.dumps({"a": 1}))
    run_id = await executed(api, context)
    artifact = {"name": "x", "type": "Artifact", "uri": folder.as_uri()}
    made = await post(api, "/artifacts", {"artifact": artifact, "run_id": run_id})
    path = f"/artifacts/{made['artifact_id']}/content"
    assert await get(api, path) == {"files": [{"path": "part.json", "size": 8}]}
    assert await get(api, f"{path}?path=part.json") == {"a": 1}
    await get(api, f"{path}?path=../../../metadata.db", 400)
