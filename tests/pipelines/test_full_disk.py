"""A full disk below the artifact store or the metadata database is waited for."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.pipelines.conftest import platform, served
from tests.pipelines.test_controller import (
    CHAIN,
    controllers,
    ended,
    pod_of,
    submit,
    succeed,
    until,
)
from tests.support.disks import fill, needs_mounts, small_disk

from kubeling.artifacts.errors import NoRoom
from kubeling.artifacts.store import ArtifactStore
from kubeling.component import Context
from kubeling.kube.errors import InsufficientStorage
from kubeling.kube.resources import EVENTS
from kubeling.metadata.database import Database

pytestmark = needs_mounts


@pytest.fixture(name="disk")
async def _disk(tmp_path: Path) -> AsyncIterator[Path]:
    """What holds the artifacts, and nothing else."""
    (tmp_path / "platform").mkdir()
    with small_disk(tmp_path / "platform" / "artifacts", 4, files=200) as disk:
        yield disk


@pytest.fixture(name="on_it")
async def _on_it(disk: Path) -> AsyncIterator[Context]:
    async with platform(disk.parent) as context:
        yield context


async def test_tasks_wait_for_room_for_their_outputs(on_it: Context, disk: Path) -> None:
    async with controllers(on_it), served(on_it) as api:
        taken = take_every_file(disk)
        run = await submit(on_it, CHAIN)
        event = await until(on_it, EVENTS, lambda e: e["reason"] == "DiskFull")
        assert f"the disk that holds {disk}" in event["message"]
        async with api.get(f"/apis/v2beta1/runs/{run['metadata']['uid']}") as response:
            details = (await response.json())["run_details"]["task_details"]
        errors = {task["display_name"]: task.get("error") for task in details}
        assert "is full: free some space" in errors["a"]["message"]
        shutil.rmtree(taken)
        await succeed(on_it, await pod_of(on_it, "a"), out="1")
        await succeed(on_it, await pod_of(on_it, "b"), out="1")
        assert (await ended(on_it))["status"]["state"] == "SUCCEEDED"


def take_every_file(disk: Path) -> Path:
    folder = disk / "taken"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(1000):
            (folder / str(number)).touch()
    return folder


def test_a_full_artifact_store_keeps_what_it_has(tmp_path: Path) -> None:
    with small_disk(tmp_path, 4) as disk:
        store = ArtifactStore(f"file://{disk}")
        store.put(f"{disk}/kept", b"old")
        fill(disk / "ballast")
        with pytest.raises(NoRoom, match=f"the disk that holds {disk}/kept is full: free some"):
            store.put(f"{disk}/kept", bytes(1 << 20))
        assert store.read(f"{disk}/kept") == b"old"
        (disk / "ballast").unlink()
        store.put(f"{disk}/kept", bytes(1 << 20))
        assert sorted(path.name for path in disk.iterdir()) == ["kept"]


def test_a_full_database_is_said_and_goes_on(tmp_path: Path) -> None:
    def write(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x BLOB)")
        connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(1048576))")

    with small_disk(tmp_path, 8) as disk:
        database = Database(f"sqlite:///{disk}/metadata.db")
        database.run_sync(write)
        fill(disk / "ballast")
        with pytest.raises(InsufficientStorage, match=r"metadata\.db is full: free some space"):
            database.run_sync(write)
        (disk / "ballast").unlink()
        database.run_sync(write)
        count = sa.text("SELECT count(*) FROM t")
        assert database.run_sync(lambda c: c.execute(count).scalar()) == 2
        database.close()
