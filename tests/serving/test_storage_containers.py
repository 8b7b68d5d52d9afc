"""Models fetched by containers of one's own, by the addresses they say they fetch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.platform import Serving, running_serving
from tests.serving.services import service

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving import templates
from kubeling.serving.credentials import Access
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.runtimes import builtin_runtimes, select_runtime
from kubeling.serving.storage_containers import CLUSTER_STORAGE_CONTAINERS, StorageContainers


def storage_container(title: str, *formats: dict[str, str], **spec: Any) -> Obj:
    return {
        "apiVersion": CLUSTER_STORAGE_CONTAINERS.api_version,
        "kind": CLUSTER_STORAGE_CONTAINERS.kind,
        "metadata": {"name": title},
        "spec": {
            "container": {"name": "storage-initializer", "image": f"registry/{title}:1"},
            "supportedUriFormats": list(formats),
            **spec,
        },
    }


KIT = storage_container("kit", {"prefix": "kit://"})


def image_for(uri: str, *containers: Obj, named: str | None = None) -> str | None:
    found = StorageContainers(containers, named).of(uri)
    return found["image"] if found else None


def test_an_address_is_fetched_by_the_container_that_covers_it() -> None:
    blobs = storage_container("blobs", {"regex": r"https://(.+?).blob.core.windows.net/(.+)"})
    assert image_for("kit://model", KIT, blobs) == "registry/kit:1"
    assert image_for("https://me.blob.core.windows.net/a/b", KIT, blobs) == "registry/blobs:1"
    assert image_for("s3://bucket/model", KIT, blobs) is None


def test_those_disabled_or_for_caches_fetch_nothing_for_pods() -> None:
    cache = storage_container("cache", {"prefix": "s3://"}, workloadType="localModelDownloadJob")
    off = {**storage_container("off", {"prefix": "s3://"}), "disabled": True}
    assert image_for("s3://bucket/model", cache, off) is None


def test_a_container_may_be_named() -> None:
    other = storage_container("a-kit", {"prefix": "kit://"})
    assert image_for("kit://model", KIT, other) == "registry/a-kit:1"
    assert image_for("kit://model", KIT, other, named="kit") == "registry/kit:1"
    with pytest.raises(LookupError, match='no ClusterStorageContainer "oci" that fetches kit://'):
        image_for("kit://model", KIT, named="oci")


def test_a_container_is_told_what_to_fetch_and_gets_the_credentials() -> None:
    container = {
        "name": "storage-initializer",
        "image": "kit",
        "env": [{"name": "AWS_REGION", "value": "own"}],
        "args": ["--plain-http"],
    }
    kit = storage_container("kit", {"prefix": "kit://"}, container=container)
    uris = [
        {"uri": "kit://a", "mountPath": "/mnt/models/a"},
        {"uri": "s3://b/m", "mountPath": "/mnt/models/b"},
    ]
    model = {"modelFormat": {"name": "sklearn"}}
    isvc = service(predictor={"model": model, "storageUris": uris})
    access = Access(
        env=({"name": "AWS_REGION", "value": "x"}, {"name": "AWS_ACCESS_KEY_ID", "value": "k"})
    )
    runtime = select_runtime(model, [], builtin_runtimes())
    pod = templates.predictor(isvc, runtime, access, StorageContainers([kit]))["spec"]
    built_in, own = pod["initContainers"]
    assert built_in["args"] == ["s3://b/m", "/mnt/models/b"]
    assert own["args"] == ["--plain-http", "kit://a", "/mnt/models/a"]
    assert (built_in["name"], own["name"]) == ("storage-initializer", "storage-initializer-1")
    assert {v["name"]: v["value"] for v in own["env"]} == {
        "AWS_REGION": "own",
        "AWS_ACCESS_KEY_ID": "k",
    }
    assert {m["mountPath"] for m in own["volumeMounts"]} == {"/mnt/models/a"}


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


async def test_a_scheme_of_ones_own_works_as_soon_as_something_fetches_it(
    serving: Serving,
) -> None:
    await serving.service("iris", predictor={"sklearn": {"storageUri": "kit://model"}})
    isvc = await serving.until(INFERENCE_SERVICES, "iris", lambda o: "status" in o)
    ready = condition(isvc, "Ready")
    assert ready is not None
    assert ready.reason == "InvalidStorage"
    assert "no ClusterStorageContainer fetches kit:// addresses" in ready.message
    await serving.apply(CLUSTER_STORAGE_CONTAINERS, KIT)
    deployment = await serving.exists(DEPLOYMENTS, "iris-predictor-00001")
    fetch = deployment["spec"]["template"]["spec"]["initContainers"][0]
    assert fetch["image"] == "registry/kit:1"
    assert fetch["args"] == ["kit://model", "/mnt/models"]


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ([], "spec.supportedUriFormats: Required value"),
        ([{"prefix": "a://", "regex": "b"}], "give either prefix or regex"),
        ([{}], "give either prefix or regex"),
        ([{"regex": "("}], "spec.supportedUriFormats[0].regex: Invalid value"),
    ],
)
async def test_formats_that_cover_nothing_are_refused(
    serving: Serving, formats: list[dict[str, str]], message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await serving.apply(CLUSTER_STORAGE_CONTAINERS, storage_container("odd", *formats))
    assert message in str(refused.value)
