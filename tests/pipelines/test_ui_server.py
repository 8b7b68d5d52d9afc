"""The paths of upstream's UI server, and what a step left behind."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.conftest import Api
from tests.pipelines.test_lineage_api import MODEL, executed

from kubeling.component import Context
from kubeling.kube.objects import new_object
from kubeling.kube.resources import PODS
from kubeling.pipelines.nodes import task_id


async def fetch(api: Api, path: str, status: int = 200, **query: Any) -> bytes:
    async with api.get(path, params=query) as response:
        body = await response.read()
        assert response.status == status, body
        return body


@pytest.fixture
def folder(context: Context) -> Path:
    found = context.artifacts.folder / "pipelines" / "default"
    found.mkdir(parents=True)
    return found


def address(path: Path) -> dict[str, Any]:
    """How the UI names a local file."""
    _, bucket, key = str(path).split("/", 2)
    return {"source": "file", "bucket": bucket, "key": key}


@pytest.mark.parametrize("prefix", ["", "/pipeline"])
async def test_an_artifact_is_found_by_store_and_key(api: Api, folder: Path, prefix: str) -> None:
    (folder / "report.txt").write_text("0123456789")
    where = address(folder / "report.txt")
    assert await fetch(api, f"{prefix}/artifacts/get", **where) == b"0123456789"
    assert await fetch(api, f"{prefix}/artifacts/get", peek="4", **where) == b"0123"
    path = "/artifacts/{source}/{bucket}/{key}".format(**where)
    assert await fetch(api, prefix + path) == b"0123456789"
    async with api.get(prefix + path, headers={"Range": "bytes=2-4"}) as response:
        assert (response.status, await response.read()) == (206, b"234")


async def test_an_archive_is_unpacked_on_demand(api: Api, folder: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("data")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    (folder / "data.tgz").write_bytes(packed.getvalue())
    (folder / "odd.tgz").write_bytes(gzip.compress(b"no archive"))
    where = address(folder / "data.tgz")
    assert await fetch(api, "/artifacts/get", **where) == b"hello"
    path = "/artifacts/{source}/{bucket}/{key}".format(**where)
    assert await fetch(api, path) == packed.getvalue()
    where = address(folder / "odd.tgz")
    assert gzip.decompress(await fetch(api, "/artifacts/get", **where)) == b"no archive"


@pytest.mark.parametrize(
    ("where", "status", "message"),
    [
        (
            {"source": "file", "bucket": "etc", "key": "passwd"},
            400,
            "neither in the artifact store",
        ),
        ({"source": "tape", "bucket": "a", "key": "b"}, 400, "Unsupported value"),
        ({"source": "volume", "bucket": "a", "key": "b"}, 501, "not mounted"),
        ({"source": "https", "bucket": "a.example", "key": "b"}, 501, "open it there"),
        ({"source": "file", "bucket": "a"}, 400, "key: Required value"),
    ],
)
async def test_what_cannot_be_shown_is_refused(
    api: Api, where: dict[str, Any], status: int, message: str
) -> None:
    body = await fetch(api, "/artifacts/get", status, **where)
    assert message in json.loads(body)["error_message"]


async def test_pods_and_their_events_are_shown(api: Api, context: Context) -> None:
    containers = [{"name": "main", "image": "busybox"}]
    pod = new_object(PODS, "p", "default", spec={"containers": containers})
    made = await context.client.create(PODS, pod)
    await context.recorder("test").normal(made, "Tested", "words")
    query: Any = {"podname": "p", "podnamespace": "default"}
    shown = json.loads(await fetch(api, "/k8s/pod", **query))
    assert shown["metadata"]["uid"] == made["metadata"]["uid"]
    events = json.loads(await fetch(api, "/k8s/pod/events", **query))
    assert [event["message"] for event in events["items"]] == ["words"]
    await fetch(api, "/k8s/pod", 400)
    await fetch(api, "/k8s/pod/logs", 404, podname="q", podnamespace="default")


async def test_what_belongs_to_other_clusters_is_not_there(api: Api) -> None:
    await fetch(api, "/system/cluster-name", 404)
    await fetch(api, "/system/project-id", 404)
    refused = json.loads(await fetch(api, "/apps/tensorboard", 501, logdir="x"))
    assert "spec.logspath" in refused["error_message"]
    assert await fetch(api, "/visualizations/allowed") == b"false"


async def test_an_output_of_a_step_is_read_as_data(
    api: Api, context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 2048 + b"x"
    (folder / "model").write_bytes(data)
    here: Any = type(MODEL)(8, "model", "system.Model", str(folder / "model"))
    monkeypatch.setattr("tests.pipelines.test_lineage_api.MODEL", here)
    run_id = await executed(api, context)
    for node in ("make", "pod-1", task_id(run_id, "make")):
        path = f"/apis/v2beta1/runs/{run_id}/nodes/{node}/artifacts/model:read"
        found = json.loads(await fetch(api, path))
        assert base64.b64decode(found["data"]) == data
    missing = f"/apis/v2beta1/runs/{run_id}/nodes/make/artifacts/other:read"
    refused = json.loads(await fetch(api, missing, 404))
    assert refused["error_message"].startswith("artifact not found")
    await fetch(api, f"/apis/v2beta1/runs/{run_id}/nodes/nobody/artifacts/model:read", 404)
    await fetch(api, f"/apis/v1alpha1/runs/{run_id}/nodes/use/log", 404)
