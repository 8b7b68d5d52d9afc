"""Artifacts that come from elsewhere or belong there, and the workspace of a run."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.pipelines.conftest import platform
from tests.pipelines.specs import document, step, task
from tests.pipelines.test_controller import controllers, ended, finish, pod_of, submit
from tests.support.objectstore import ObjectStoreServer, object_store

from kubeling.component import Context
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, SECRETS
from kubeling.pipelines.custom_paths import with_custom_paths

WORKSPACE = {"platforms": {"kubernetes": {"pipelineConfig": {"workspace": {"size": "1Gi"}}}}}
DATASET = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}


def reader(argument: str = "{{$.inputs.artifacts['data'].path}}") -> Obj:
    reads = step("read")
    reads["executor"]["container"]["args"] = [argument]
    reads["inputDefinitions"] = {"artifacts": {"data": DATASET}}
    return reads


def importer(uri: str, **fields: Any) -> Obj:
    spec = {"artifactUri": {"constant": uri}, "typeSchema": DATASET["artifactType"], **fields}
    return {
        "executorLabel": "import",
        "executor": {"importer": spec},
        "outputDefinitions": {"artifacts": {"data": DATASET}},
    }


def reads_from(name: str) -> Obj:
    source = {"taskOutputArtifact": {"producerTask": name, "outputArtifactKey": "data"}}
    return {**task("read"), "inputs": {"artifacts": {"data": source}}}


async def configure(context: Context, store: ObjectStoreServer) -> None:
    """As an administrator says how a namespace reaches its stores."""
    secret = {key: base64.b64encode(key.encode()).decode() for key in ("key", "secret")}
    await context.client.create(SECRETS, new_object(SECRETS, "s3", "default", data=secret))
    host = store.url.removeprefix("http://")
    providers = f"""
s3:
  default:
    endpoint: {host}
    region: here
    disableSSL: true
    credentials:
      fromEnv: false
      secretRef: {{secretName: s3, accessKeyKey: key, secretKeyKey: secret}}
"""
    config = new_object(CONFIG_MAPS, "kfp-launcher", "default", data={"providers": providers})
    await context.client.create(CONFIG_MAPS, config)


def on_the_machine(pod: Obj, path: str) -> Path:
    """Where what a container sees at a path is on the machine."""
    mounts = {m["name"]: m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
    for volume in pod["spec"]["volumes"]:
        place = mounts[volume["name"]]
        if path.startswith(place + "/"):
            return Path(volume["hostPath"]["path"] + path.removeprefix(place))
    raise AssertionError(f"{path} is not mounted")


async def test_what_lies_in_a_bucket_is_put_into_the_workspace_by_its_importer(
    context: Context,
) -> None:
    pipeline = document(
        {"import": task("import"), "read": reads_from("import")},
        {"import": importer("s3://private/in/x.csv", downloadToWorkspace=True), "read": reader()},
    )
    with object_store(private={"in/x.csv": b"1,2"}) as store:
        async with controllers(context):
            await configure(context, store)
            await submit(context, pipeline, platformSpec=WORKSPACE)
            pod = await pod_of(context, "read")
    path = pod["spec"]["containers"][0]["args"][0]
    assert path == "/kfp-workspace/.artifacts/s3/private/in/x.csv"
    assert on_the_machine(pod, path).read_bytes() == b"1,2"


async def test_what_lies_on_the_web_is_fetched_for_the_task(context: Context) -> None:
    with object_store(public={"x.csv": b"1,2"}) as store:
        pipeline = document(
            {"import": task("import"), "read": reads_from("import")},
            {"import": importer(f"{store.url}/public/x.csv"), "read": reader()},
        )
        async with controllers(context):
            await submit(context, pipeline)
            pod = await pod_of(context, "read")
    path = pod["spec"]["containers"][0]["args"][0]
    assert on_the_machine(pod, path).read_bytes() == b"1,2"


async def test_what_cannot_be_fetched_fails_the_task_that_needs_it(tmp_path: Path) -> None:
    pipeline = document(
        {"import": task("import"), "read": reads_from("import")},
        {"import": importer("https://localhost:1/x"), "read": reader()},
    )
    async with platform(tmp_path, store_patience="0s") as context, controllers(context):
        await submit(context, pipeline)
        run = await ended(context, state="FAILED")
    assert "its inputs cannot be fetched: cannot reach localhost:1" in run["status"]["message"]


async def test_an_importer_puts_its_artifact_into_the_workspace(context: Context) -> None:
    source = Path(context.settings.workspace) / "data.txt"
    source.write_text("there")
    pipeline = document(
        {"import": task("import"), "read": reads_from("import")},
        {"import": importer(str(source), downloadToWorkspace=True), "read": reader()},
    )
    async with controllers(context):
        await submit(context, pipeline, platformSpec=WORKSPACE)
        pod = await pod_of(context, "read")
        path = pod["spec"]["containers"][0]["args"][0]
        assert path == f"/kfp-workspace/.artifacts{source}"
        assert on_the_machine(pod, path).read_text() == "there"
        await submit(context, pipeline, "without")
        run = await ended(context, "without", "FAILED")
    assert "downloadToWorkspace: the pipeline has no workspace" in run["status"]["message"]


async def test_an_imported_file_that_changed_is_another_input(context: Context) -> None:
    source = Path(context.settings.workspace) / "data.txt"
    tasks = {"import": task("import"), "read": reads_from("import")}
    tasks["read"]["cachingOptions"] = {"enableCache": True}
    pipeline = document(tasks, {"import": importer(str(source)), "read": reader()})
    async with controllers(context):
        for number, text in enumerate(["one", "other"]):
            source.write_text(text)
            await submit(context, pipeline, f"r{number}")
            await finish(context, await pod_of(context, "read", f"r{number}"), "Succeeded", 0)
            await ended(context, f"r{number}", "SUCCEEDED")
        await submit(context, pipeline, "again")
        await ended(context, "again", "SUCCEEDED")  # nothing changed, and no pod ran


def test_what_a_component_writes_to_a_path_of_its_own_is_kept(tmp_path: Path) -> None:
    """The lines that its module is given, run as Python runs them."""
    folder, answer = tmp_path / "made", tmp_path / "executor_output.json"
    folder.mkdir()
    (folder / "part").write_text("made")
    made = {"name": "data", "uri": str(tmp_path / "store" / "data"), "custom_path": str(folder)}
    answer.write_text(json.dumps({"artifacts": {"data": {"artifacts": [made]}}}))
    program = ["sh", "-c", "install", "sh", "-ec", "python3 -m kfp.dsl.executor_main", "x = 1\n"]
    command = with_custom_paths(program, str(answer))
    assert command[:-1] == program[:-1]
    subprocess.run([sys.executable, "-c", command[-1]], check=True)
    assert (tmp_path / "store" / "data" / "part").read_text() == "made"
    assert with_custom_paths(["python", "train.py"], str(answer)) == ["python", "train.py"]
