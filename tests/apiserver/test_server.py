"""The server's life: starting, stopping, starting again, and what it keeps in order meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from pathlib import Path

import msgspec
import pytest
from tests.support.apiserver import running_server

from kubeling.apiserver.database import ArtifactError, StorageInUse
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.apiserver.upkeep import Upkeep
from kubeling.kube.clock import FakeClock
from kubeling.kube.crd import crd
from kubeling.kube.errors import Expired
from kubeling.kube.informer import Informer
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Resource

WIDGETS = Resource("example.org", "v1", "Widget", "widgets")


class Size(msgspec.Struct):
    """A widget with a size."""

    size: int


class SizeAndColour(msgspec.Struct, omit_defaults=True):
    """A widget with a size and a colour."""

    size: int
    colour: str = "red"


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running_server(data_dir=tmp_path, crds=[crd(WIDGETS, Size)]) as running:
        made = await running.client.create(
            WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 1})
        )
        listed = await running.client.list(WIDGETS)
    async with running_server(data_dir=tmp_path) as running:
        assert await running.client.get(WIDGETS, "w", "default") == made
        old = str(int(listed.resource_version) - 1)
        with pytest.raises(Expired):
            await anext(running.client.watch(WIDGETS, resource_version=old))


async def test_a_room_that_changed_its_definition_is_served_as_it_is_now(tmp_path: Path) -> None:
    async with running_server(data_dir=tmp_path, crds=[crd(WIDGETS, Size)]) as running:
        before = await running.client.get(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified)
    async with running_server(data_dir=tmp_path, crds=[crd(WIDGETS, SizeAndColour)]) as running:
        after = await running.client.get(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.qualified)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["metadata"]["generation"] == 2
        made = await running.client.create(
            WIDGETS, new_object(WIDGETS, "w", "default", spec={"size": 1})
        )
        assert made["spec"]["colour"] == "red"


async def test_a_second_start_writes_nothing(tmp_path: Path) -> None:
    definitions = [crd(WIDGETS, SizeAndColour)]
    async with running_server(data_dir=tmp_path, crds=definitions) as running:
        version = running.server.store.version
    async with running_server(data_dir=tmp_path, crds=definitions) as running:
        assert running.server.store.version == version


async def test_a_port_in_use_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="address already in use"):
            await ApiServer(ApiServerConfig(tmp_path, port=port)).start()
    server = ApiServer(ApiServerConfig(tmp_path, port=port))
    await server.start()
    assert server.url == f"https://127.0.0.1:{port}"
    await server.stop()


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with running_server(data_dir=tmp_path):
        with pytest.raises(StorageInUse):
            await ApiServer(ApiServerConfig(tmp_path)).start()


async def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ArtifactError, match="cannot open"):
        await ApiServer(ApiServerConfig(tmp_path / "data")).start()


async def test_clients_in_process_learn_that_the_server_stopped() -> None:
    async with running_server() as running:
        watch = running.client.watch(CONFIG_MAPS)
        await anext(watch)
        await running.server.stop()
        assert [event async for event in watch if event.type != "ADDED"] == []
        with pytest.raises(ConnectionError, match="has stopped"):
            await running.client.list(CONFIG_MAPS)


async def test_events_go_after_an_hour() -> None:
    clock = FakeClock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    async with running_server(clock=clock) as running:
        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        for name, moment in (("old", "2026-01-01T00:00:00Z"), ("new", "2026-01-01T00:30:00Z")):
            event = new_object(EVENTS, name, "default", involvedObject=about, lastTimestamp=moment)
            await running.client.create(EVENTS, event)
        clock.advance(3700)
        await Upkeep(running.server.registry).expire_events()
        assert [e["metadata"]["name"] for e in (await running.client.list(EVENTS)).items] == ["new"]


async def test_an_informer_follows_through_forgotten_history() -> None:
    async with running_server() as running:
        informer = Informer(running.client, CONFIG_MAPS)
        running.server.store.forget(seconds=0)
        seen = asyncio.Event()
        informer.add_handler(
            lambda old, new: seen.set() if new and new["metadata"]["name"] == "c" else None
        )
        task = asyncio.create_task(informer.run())
        await informer.wait_synced()
        await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default"))
        async with asyncio.timeout(5):
            await seen.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
