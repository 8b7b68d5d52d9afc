"""Pipelines whose artifacts lie in buckets: roots in a store, and imports from one."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.pipelines.specs import document, task
from tests.support.objectstore import ObjectStoreServer, object_store
from tests.workflows.conftest import Cluster, cluster_in

from kubeling.artifacts.locations import GCS, S3
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import CONFIG_MAPS, PODS, SECRETS
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.launcher import LauncherError, launcher
from kubeling.pipelines.resources import RUNS

SECRET = {"secretName": "keys", "accessKeyKey": "account", "secretKeyKey": "secret"}


@pytest.fixture(name="store")
def _store() -> Iterator[ObjectStoreServer]:
    with object_store(private={"data/numbers": b"1 2 3"}) as server:
        yield server


@pytest.fixture(name="runs")
async def _runs(store: ObjectStoreServer) -> AsyncIterator[Cluster]:
    """A platform with pipelines, whose namespace knows the store."""
    with tempfile.TemporaryDirectory(prefix="kubeling-") as folder:
        async with (
            cluster_in(Path(folder), COMPONENT) as cluster,
            cluster.controllers(),
        ):
            await describe(cluster, store)
            yield cluster


async def describe(cluster: Cluster, store: ObjectStoreServer) -> None:
    data = {"account": base64.b64encode(b"key"), "secret": base64.b64encode(b"secret")}
    secret = {"metadata": {"name": "keys"}, "data": {k: v.decode() for k, v in data.items()}}
    await cluster.client.create(SECRETS, secret, "default")
    await cluster.client.create(CONFIG_MAPS, config_map(s3(store.url)), "default")


def s3(endpoint: str, **more: Any) -> Obj:
    return {"s3": {"default": {"endpoint": endpoint, "credentials": {"secretRef": SECRET}}, **more}}


def config_map(providers: Obj, **data: str) -> Obj:
    # JSON is YAML.
    text = msgspec.json.encode(providers).decode()
    return {"metadata": {"name": "kfp-launcher"}, "data": {"providers": text, **data}}


def component(source: str, inputs: list[str], outputs: list[str]) -> Obj:
    kind = {"artifactType": {"schemaTitle": "system.Dataset"}}
    return {
        "executorLabel": source,
        "executor": {"container": {"image": "busybox", "command": ["sh", "-ec", source]}},
        "inputDefinitions": {"artifacts": dict.fromkeys(inputs, kind)},
        "outputDefinitions": {"artifacts": dict.fromkeys(outputs, kind)},
    }


def importer(uri: str) -> Obj:
    kind = {"artifactType": {"schemaTitle": "system.Dataset"}}
    source = {"artifactUri": {"constant": uri}, "typeSchema": {"schemaTitle": "system.Dataset"}}
    return {
        "executorLabel": "importer",
        "executor": {"importer": source},
        "outputDefinitions": {"artifacts": {"artifact": kind}},
    }


def taking(component: str, key: str, producer: str, output: str) -> Obj:
    wanted = task(component, producer)
    source = {"producerTask": producer, "outputArtifactKey": output}
    wanted["inputs"] = {"artifacts": {key: {"taskOutputArtifact": source}}}
    return wanted


async def ended(cluster: Cluster, spec: Obj, **fields: Any) -> Obj:
    body = {"pipelineSpec": spec, **fields}
    created = await cluster.client.create(RUNS, new_object(RUNS, "r", "default", spec=body))
    async with asyncio.timeout(90):
        async for event in cluster.client.watch(RUNS, "default"):
            state = (event.object.get("status") or {}).get("state")
            if state in ("SUCCEEDED", "FAILED"):
                return {**event.object, "created": created}
    raise AssertionError("the watch ended")


async def test_artifacts_travel_through_the_pipelines_root(
    runs: Cluster, store: ObjectStoreServer
) -> None:
    components = {
        "import": importer("s3://private/data/numbers"),
        "make": component(
            "cat {{$.inputs.artifacts['numbers'].path}} >{{$.outputs.artifacts['made'].path}}",
            ["numbers"],
            ["made"],
        ),
        "use": component(
            "grep '1 2 3' {{$.inputs.artifacts['given'].path}};"
            "mkdir {{$.outputs.artifacts['folder'].path}};"
            "echo both >{{$.outputs.artifacts['folder'].path}}/file",
            ["given"],
            ["folder", "never-written"],
        ),
    }
    tasks = {
        "import": task("import"),
        "make": taking("make", "numbers", "import", "artifact"),
        "use": taking("use", "given", "make", "made"),
    }
    root = "s3://private/root"
    run = await ended(runs, document(tasks, components), runtimeConfig={"pipelineRoot": root})
    assert run["status"]["state"] == "SUCCEEDED", run["status"]
    folder = f"root/p/{run['metadata']['uid']}"
    stored = {k: v for k, v in store.buckets["private"].items() if k != "data/numbers"}
    assert stored == {f"{folder}/make/0/made": b"1 2 3", f"{folder}/use/0/folder/file": b"both\n"}


async def test_a_store_that_refuses_fails_the_task_and_says_why(
    runs: Cluster, store: ObjectStoreServer
) -> None:
    make = component("echo >{{$.outputs.artifacts['made'].path}}", [], ["made"])
    run = await ended(
        runs,
        document({"make": task("make")}, {"make": make}),
        runtimeConfig={"pipelineRoot": "s3://nowhere/root"},
    )
    assert run["status"]["state"] == "FAILED"
    assert 'there is no bucket "nowhere"' in str(run["status"])


async def test_a_store_that_is_away_for_a_while_loses_nothing(
    runs: Cluster, store: ObjectStoreServer
) -> None:
    components = {
        "make": component("echo made >{{$.outputs.artifacts['made'].path}}", [], ["made"]),
        "use": component("grep made {{$.inputs.artifacts['given'].path}}", ["given"], []),
    }
    tasks = {"make": task("make"), "use": taking("use", "given", "make", "made")}
    root = {"pipelineRoot": "s3://private/root"}
    store.stop()
    run = asyncio.create_task(ended(runs, document(tasks, components), runtimeConfig=root))
    async with asyncio.timeout(60):
        await keeper_said(runs, "cannot reach 127.0.0.1")
    assert not run.done()
    store.start()
    assert (await run)["status"]["state"] == "SUCCEEDED", run.result()["status"]
    assert list(store.buckets["private"].values()) == [b"1 2 3", b"made\n"]


async def keeper_said(cluster: Cluster, text: str) -> None:
    """Waits until what keeps the first pod's outputs has said something."""
    async for event in cluster.client.watch(PODS, "default"):
        if (event.object.get("status") or {}).get("phase") == "Running":
            break
    heard, keeper = b"", "artifacts-keep"
    pieces = cluster.client.logs(name(event.object), "default", container=keeper, follow=True)
    async for piece in pieces:
        heard += piece
        if text.encode() in heard:
            return
    raise AssertionError(heard.decode())


def test_the_launchers_settings_are_upstreams() -> None:
    override = {"bucketName": "b", "keyPrefix": "x/", "region": "eu", "disableSSL": True}
    known = launcher(
        config_map(s3("minio:9000", overrides=[override]), defaultPipelineRoot="s3://b")
    )
    assert known.default_root == "s3://b"
    env: list[Obj] = []
    found = known.location("s3://b/x/y", env, [])
    assert isinstance(found, S3)
    assert (found.endpoint, found.region, found.insecure) == ("minio:9000", "eu", True)
    assert [v["valueFrom"]["secretKeyRef"] for v in env] == [
        {"name": "keys", "key": "account"},
        {"name": "keys", "key": "secret"},
    ]
    plain = known.location("s3://b/other", [], [])
    assert isinstance(plain, S3)
    assert (plain.region, plain.insecure) == ("", False)
    minio = launcher(None).location("minio://mlpipeline/v2/x", [], [])
    assert isinstance(minio, S3)
    assert minio.endpoint == "minio-service.kubeflow:9000"


def test_a_stores_own_variables_may_be_the_steps() -> None:
    providers = {"gs": {"default": {"credentials": {"fromEnv": True}}}}
    env: list[Obj] = []
    own = [{"name": "GOOGLE_SERVICE_ACCOUNT", "value": "x"}, {"name": "OTHER", "value": "y"}]
    found = launcher(config_map(providers)).location("gs://b/k", env, own)
    assert isinstance(found, GCS)
    assert found.use_sdk_creds
    assert env == own[:1]


@pytest.mark.parametrize("uri", ["s3://b", "s3:///k", "s3://b/k?region=us"])
def test_an_address_that_cannot_be_is_refused(uri: str) -> None:
    with pytest.raises(LauncherError, match="write s3://BUCKET/PATH"):
        launcher(None).location(uri, [], [])


def test_providers_that_cannot_be_read_are_refused() -> None:
    broken = {"data": {"providers": "s3: ["}}
    with pytest.raises(LauncherError, match="ConfigMap kfp-launcher: providers: "):
        launcher(broken)
