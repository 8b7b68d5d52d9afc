"""What runs keep in buckets is shown and tidied up with the namespace's own credentials."""

from __future__ import annotations

import base64
import io
import random
import tarfile
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
import sqlalchemy as sa
from tests.pipelines.conftest import Api
from tests.pipelines.test_api import ROOT, get, post
from tests.pipelines.test_collection import collect, run_that_ended
from tests.pipelines.test_lineage_api import executed
from tests.support.objectstore import ObjectStoreServer, object_store

from kubeling.component import Context
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, SECRETS
from kubeling.pipelines.nodes import ArtifactRef
from kubeling.pipelines.previews import HEAD
from kubeling.pipelines.tables import ARTIFACTS

DATA = b"0123456789" * 100_000


@pytest.fixture
async def store(context: Context) -> AsyncIterator[ObjectStoreServer]:
    """A private bucket that the namespace knows how to reach."""
    with object_store(private={"data/numbers": DATA, "tree/a": b"a", "tree/b/c": b"c"}) as server:
        reference = {"secretName": "keys", "accessKeyKey": "account", "secretKeyKey": "secret"}
        default = {"endpoint": server.url, "credentials": {"secretRef": reference}}
        providers = msgspec.json.encode({"s3": {"default": default}}).decode()
        keys = {"account": "key", "secret": "secret"}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
        await context.client.create(SECRETS, new_object(SECRETS, "keys", "default", data=data))
        described = new_object(
            CONFIG_MAPS, "kfp-launcher", "default", data={"providers": providers}
        )
        await context.client.create(CONFIG_MAPS, described)
        yield server


async def artifact(api: Api, context: Context, uri: str) -> str:
    run_id = await executed(api, context)
    body = {"artifact": {"name": "x", "type": "Dataset", "uri": uri}, "run_id": run_id}
    return f"/artifacts/{(await post(api, '/artifacts', body))['artifact_id']}"


async def test_content_is_passed_on(api: Api, context: Context, store: ObjectStoreServer) -> None:
    path = await artifact(api, context, "s3://private/data/numbers")
    async with api.get(f"{ROOT}{path}/content") as response:
        assert await response.read() == DATA
    where = {"source": "s3", "bucket": "private", "key": "data/numbers", "peek": "4"}
    async with api.get("/artifacts/get", params=where) as response:
        assert await response.read() == b"0123"


async def test_a_folder_is_listed(api: Api, context: Context, store: ObjectStoreServer) -> None:
    path = await artifact(api, context, "s3://private/tree")
    listed = await get(api, f"{path}/content")
    assert listed == {"files": [{"path": "a", "size": 1}, {"path": "b/c", "size": 1}]}
    async with api.get(f"{ROOT}{path}/content?path=b/c") as response:
        assert await response.read() == b"c"
    await get(api, f"{path}/content?path=elsewhere", 404)


async def test_what_is_in_a_bucket_is_drawn(
    api: Api, context: Context, store: ObjectStoreServer
) -> None:
    objects = store.buckets["private"]
    objects |= {"t/a.csv": b"x,y\n1,2\n", "t/empty.txt": b"", "t/long": b"x" * (HEAD + 5)}
    path = await artifact(api, context, "s3://private/t")
    shown = (await get(api, f"{path}/preview"))["preview"]
    assert shown["kind"] == "folder"
    assert [file["path"] for file in shown["files"]] == ["a.csv", "empty.txt", "long"]
    shown = (await get(api, f"{path}/preview?path=a.csv"))["preview"]
    assert (shown["kind"], shown["rows"]) == ("table", [["1", "2"]])
    shown = (await get(api, f"{path}/preview?path=empty.txt"))["preview"]
    assert (shown["kind"], shown["size"]) == ("text", 0)
    shown = (await get(api, f"{path}/preview?path=long"))["preview"]
    assert (len(shown["text"]), shown["size"], shown["truncated"]) == (HEAD, HEAD + 5, True)


async def test_an_archive_in_a_bucket_is_unpacked(api: Api, store: ObjectStoreServer) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("data")
        member.size = len(DATA)
        archive.addfile(member, io.BytesIO(DATA))
    store.buckets["private"] |= {"made.tgz": packed.getvalue(), "no.tgz": b"no archive"}
    where = {"source": "s3", "bucket": "private"}
    async with api.get("/artifacts/get", params={**where, "key": "made.tgz"}) as response:
        assert await response.read() == DATA
    async with api.get("/artifacts/get", params={**where, "key": "no.tgz"}) as response:
        assert await response.read() == b"no archive"
    async with api.get("/artifacts/s3/private/made.tgz") as response:
        assert await response.read() == packed.getvalue()


async def test_an_archive_that_is_cut_off_is_not_followed_by_itself(
    api: Api, store: ObjectStoreServer
) -> None:
    packed, noise = io.BytesIO(), random.Random(1).randbytes(1 << 20)
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("data")
        member.size = len(noise)
        archive.addfile(member, io.BytesIO(noise))
    store.buckets["private"]["cut.tgz"] = packed.getvalue()[: 3 << 18]
    where = {"source": "s3", "bucket": "private", "key": "cut.tgz"}
    async with api.get("/artifacts/get", params=where) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_store_that_is_away_is_said(
    api: Api, context: Context, store: ObjectStoreServer
) -> None:
    path = await artifact(api, context, "s3://private/data/numbers")
    store.stop()
    for what in ("content", "preview"):
        refused = await get(api, f"{path}/{what}", 503)
        assert refused["code"] == 14
        assert refused["message"].startswith("cannot reach 127.0.0.1")


async def test_missing_credentials_are_named(
    api: Api, context: Context, store: ObjectStoreServer
) -> None:
    await context.client.delete(SECRETS, "keys", "default")
    path = await artifact(api, context, "s3://private/data/numbers")
    refused = await get(api, f"{path}/content", 400)
    assert "Secret keys of namespace default has no key account" in refused["message"]


async def moved(context: Context, number: int, uri: str) -> None:
    """Puts an artifact somewhere else."""
    query = sa.update(ARTIFACTS).where(ARTIFACTS.c.artifact_id == number).values(uri=uri)
    database = await context.open_database()
    await database.run(lambda c: c.execute(query))


async def test_files_in_buckets_go_with_their_run(
    api: Api, context: Context, store: ObjectStoreServer, registry: list[str]
) -> None:
    bucket = store.buckets["private"]
    keys = {}
    for number, name in enumerate(("gone", "registered"), 1):
        own = ArtifactRef(number, "m", "system.Model", "s3://private/later")
        run_id = await run_that_ended(api, context, name, 9, artifact=own)
        keys[name] = f"root/p/{run_id}/m"
        bucket[keys[name]] = b"model"
        await moved(context, number, f"s3://private/{keys[name]}")
    # Both took the address "later"; now each has its own.
    registry.append(f"s3://private/{keys['registered']}")
    found = await collect(api, {"max_age": "24h"}, collect_artifacts=True)
    assert (found["deleted"], found["artifacts"]) == (2, 1)
    assert {key for key in bucket if key.startswith("root/")} == {keys["registered"]}
