"""Artifacts that lie elsewhere: object stores, the web, Git repositories."""

from __future__ import annotations

import base64
import gzip
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.objectstore import ObjectStoreServer, object_store
from tests.workflows.conftest import Cluster

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, PODS, SECRETS
from kubeling.workflows.resources import WORKFLOWS


@pytest.fixture(name="store")
def _store() -> Iterator[ObjectStoreServer]:
    with object_store(private={"data/numbers.txt": b"1\n2\n3\n"}) as server:
        yield server


async def keys(cluster: Cluster) -> None:
    secret = {
        "metadata": {"name": "keys"},
        "data": {
            "account": base64.b64encode(b"key").decode(),
            "secret": base64.b64encode(b"secret").decode(),
        },
    }
    await cluster.client.create(SECRETS, secret, "default")


def bucket(store: ObjectStoreServer, **more: Any) -> Obj:
    return {
        "endpoint": store.url.removeprefix("http://"),
        "insecure": True,
        "bucket": "private",
        "accessKeySecret": {"name": "keys", "key": "account"},
        "secretKeySecret": {"name": "keys", "key": "secret"},
        **more,
    }


def step(source: str, inputs: list[Obj], outputs: list[Obj], name: str = "main") -> Obj:
    return {
        "name": name,
        "inputs": {"artifacts": inputs},
        "outputs": {"artifacts": outputs},
        "container": {"image": "busybox", "command": ["sh", "-ec"], "args": [source]},
    }


def workflow(*templates: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "places-"},
        "spec": {"entrypoint": templates[0]["name"], "templates": list(templates), **spec},
    }


async def test_a_step_reads_and_writes_objects_of_a_bucket(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    numbers = {
        "name": "numbers",
        "path": "/tmp/in/n",
        "s3": bucket(store, key="data/numbers.txt"),
    }
    packed = {"name": "packed", "path": "/tmp/out", "s3": bucket(store, key="packed.tgz")}
    plain = {"name": "plain", "path": "/tmp/out", "archive": {"none": {}}}
    done = await cluster.run(
        workflow(
            step(
                "mkdir /tmp/out; wc -l </tmp/in/n >/tmp/out/count; ls /tmp/in >/tmp/out/names",
                [numbers],
                [packed, {**plain, "s3": bucket(store, key="plain")}],
            )
        )
    )
    assert done["status"]["phase"] == "Succeeded", done["status"]
    stored = store.buckets["private"]
    assert stored["plain/count"].split() == [b"3"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(stored["packed.tgz"]))) as archive:
        assert archive.extractfile("packed/names").read() == b"n\n"  # type: ignore[union-attr]
    [pod] = (await cluster.client.list(PODS, "default")).items
    [main] = pod["spec"]["containers"]
    assert "KUBELING_SECRET" not in str(main)


async def test_a_bucket_that_is_not_there_is_made(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    new = {"bucket": "private-new", "createBucketIfNotPresent": {}, "region": "eu-central-1"}
    made = [
        {
            "name": name,
            "path": "/tmp/made",
            "archive": {"none": {}},
            "s3": bucket(store, key=name, **new),
        }
        for name in ("first", "second")
    ]
    done = await cluster.run(workflow(step("echo here >/tmp/made", [], made)))
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert store.buckets["private-new"] == {"first": b"here\n", "second": b"here\n"}


async def test_a_bucket_that_may_not_be_made_is_said(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    place = {**bucket(store, key="k"), "bucket": "new", "createBucketIfNotPresent": {}}
    del place["accessKeySecret"], place["secretKeySecret"]
    made = {"name": "made", "path": "/tmp/made", "s3": place}
    done = await cluster.run(workflow(step("echo here >/tmp/made", [], [made])))
    assert done["status"]["phase"] in ("Error", "Failed")
    assert "s3://new may not be made anonymously" in str(done["status"])


async def test_a_namespaces_repository_takes_what_names_no_place(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    settings = bucket(store, keyFormat="runs/{{workflow.name}}/{{pod.name}}")
    config: Obj = {
        "metadata": {
            "name": "artifact-repositories",
            "annotations": {"workflows.argoproj.io/default-artifact-repository": "main"},
        },
        # JSON is YAML.
        "data": {"main": str({"s3": settings}).replace("'", '"').replace("True", "true")},
    }
    await cluster.client.create(CONFIG_MAPS, config, "default")
    make = step("echo hello >/tmp/made", [], [{"name": "made", "path": "/tmp/made"}], "make")
    use = step(
        "cat /tmp/given /tmp/numbers >/tmp/both",
        [
            {"name": "given", "path": "/tmp/given"},
            {"name": "numbers", "path": "/tmp/numbers", "s3": {"key": "data/numbers.txt"}},
        ],
        [{"name": "both", "path": "/tmp/both", "archive": {"none": {}}, "s3": {"key": "both"}}],
        "use",
    )
    given = {"name": "given", "from": "{{steps.make.outputs.artifacts.made}}"}
    steps = [
        [{"name": "make", "template": "make"}],
        [{"name": "use", "template": "use", "arguments": {"artifacts": [given]}}],
    ]
    done = await cluster.run(workflow({"name": "main", "steps": steps}, make, use))
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert store.buckets["private"]["both"] == b"hello\n1\n2\n3\n"
    [node] = [n for n in done["status"]["nodes"].values() if n["displayName"] == "make"]
    [made] = [a for a in node["outputs"]["artifacts"] if a["name"] == "made"]
    assert made["s3"] == {
        "key": f"runs/{done['metadata']['name']}/{done['metadata']['name']}-make-"
        f"{node['id'].rpartition('-')[2]}/made.tgz"
    }
    reference = done["status"]["artifactRepositoryRef"]
    assert reference["configMap"] == "artifact-repositories"
    assert reference["artifactRepository"]["s3"]["bucket"] == "private"


def repository(folder: Path) -> None:
    """Makes a Git repository of one commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-qb", "main"], ["commit", "-qm", "x", "--allow-empty"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


async def test_a_step_reads_a_repository_and_the_web(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    store.buckets["public"] = {"page": b"page"}
    repository(cluster.workspace)
    code = {
        "name": "code",
        "path": "/src",
        "git": {"repo": cluster.workspace.as_uri(), "revision": "main"},
    }
    page = {"name": "page", "path": "/tmp/page", "http": {"url": f"{store.url}/public/page"}}
    gone = {"name": "gone", "path": "/tmp/gone", "http": {"url": f"{store.url}/public/gone"}}
    optional = {**gone, "optional": True}
    done = await cluster.run(
        workflow(
            step(
                "cd /src; test -d .git; test ! -e /tmp/gone; cat /tmp/page",
                [code, page, optional],
                [],
            )
        )
    )
    assert done["status"]["phase"] == "Succeeded", done["status"]
    failed = await cluster.run(workflow(step("true", [gone], [])))
    assert failed["status"]["phase"] == "Error"
    assert "input artifact gone: there is nothing at http" in failed["status"]["message"]


async def test_an_output_that_cannot_be_stored_fails_the_step(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    made = {"name": "made", "path": "/tmp/made", "s3": bucket(store, key="x") | {"bucket": "none"}}
    failed = await cluster.run(workflow(step("echo >/tmp/made", [], [made])))
    assert failed["status"]["phase"] == "Error"
    assert 'output artifact made: there is no bucket "none"' in failed["status"]["message"]


@pytest.mark.parametrize(
    ("artifact", "output", "message"),
    [
        ({"hdfs": {}}, False, r"artifacts\[0\].hdfs: Forbidden: Hadoop is not supported"),
        ({"git": {}}, False, r"artifacts\[0\].git.repo: Required value: say where"),
        ({"git": {"repo": "x"}}, True, r"artifacts\[0\].git: Forbidden: can only be an input"),
        ({"s3": {"bucket": "b", "key": "k"}}, False, r"s3.endpoint: Required value: give it, or"),
        ({"s3": {"key": "k"}, "gcs": {"key": "k"}}, False, "gcs: Forbidden: s3 is given already"),
        (
            {"oss": {"key": "k", "lifecycleRule": {"markDeletionAfterDays": 3}}},
            False,
            "lifecycleRule: Forbidden: rules of a bucket are not set here",
        ),
        (
            {"s3": {"key": "k", "encryptionOptions": {"kmsEncryptionContext": "{}"}}},
            False,
            "kmsEncryptionContext: Forbidden: is not handed on",
        ),
        (
            {"s3": {"key": "k", "createBucketIfNotPresent": {"objectLocking": True}}},
            False,
            "createBucketIfNotPresent.objectLocking: Forbidden: buckets are made without a lock",
        ),
        (
            {"oss": {"key": "k", "createBucketIfNotPresent": True}},
            False,
            "createBucketIfNotPresent: Forbidden: buckets are made in S3 only",
        ),
    ],
)
async def test_a_place_that_cannot_be_is_refused(
    artifact: Obj, output: bool, message: str, cluster: Cluster
) -> None:
    given = [{"name": "a", "path": "/tmp/a", **artifact}]
    wanted = workflow(step("true", *(([], given) if output else (given, []))))
    with pytest.raises(Invalid, match=message):
        await cluster.client.create(WORKFLOWS, wanted, "default")


async def test_artifacts_go_with_their_workflow_or_at_its_end(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    at_end = {"artifactGC": {"strategy": "OnWorkflowCompletion"}}
    never = {"artifactGC": {"strategy": "Never"}}
    made = "/tmp/made"
    outputs = [
        {"name": "there", "path": made, "s3": bucket(store, key="there")},
        {"name": "there-at-end", "path": made, "s3": bucket(store, key="end"), **at_end},
        {"name": "there-for-ever", "path": made, "s3": bucket(store, key="ever"), **never},
        {"name": "here", "path": made, "s3": {"key": "here"}},
        {"name": "here-at-end", "path": made, "s3": {"key": "here-at-end"}, **at_end},
        {"name": "here-for-ever", "path": made, "s3": {"key": "here-for-ever"}, **never},
    ]
    done = await cluster.run(
        workflow(step(f"echo >{made}", [], outputs), artifactGC={"strategy": "OnWorkflowDeletion"})
    )
    name = done["metadata"]["name"]

    def deleted(found: Obj) -> set[str]:
        [node] = found["status"]["nodes"].values()
        artifacts = (node.get("outputs") or {}).get("artifacts") or ()
        return {a["name"] for a in artifacts if a.get("deleted")}

    await cluster.seen(name, lambda found: deleted(found) == {"there-at-end", "here-at-end"})
    assert set(store.buckets["private"]) == {"data/numbers.txt", "there", "ever"}
    here = cluster.artifacts / "default"
    assert {path.name for path in here.iterdir()} == {"here", "here-for-ever"}
    await cluster.client.delete(WORKFLOWS, name, "default")
    await cluster.gone(WORKFLOWS)
    assert set(store.buckets["private"]) == {"data/numbers.txt", "ever"}
    assert {path.name for path in here.iterdir()} == {"here-for-ever"}


async def test_a_workflow_whose_artifacts_cannot_be_deleted_says_why(
    cluster: Cluster, store: ObjectStoreServer
) -> None:
    await keys(cluster)
    outputs = [{"name": "made", "path": "/tmp/made", "s3": bucket(store, key="made")}]
    gc = {"strategy": "OnWorkflowDeletion", "forceFinalizerRemoval": True}
    done = await cluster.run(workflow(step("echo >/tmp/made", [], outputs), artifactGC=gc))
    store.buckets.pop("private")
    await cluster.client.delete(WORKFLOWS, done["metadata"]["name"], "default")
    failed = await cluster.event("ArtifactGCFailed")
    assert 'there is no bucket "private"' in failed["message"]
    await cluster.gone(WORKFLOWS)
