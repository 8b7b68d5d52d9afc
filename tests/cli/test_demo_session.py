"""The demo can be run again: what an earlier run left is made anew."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
from tests.cli.test_demo_link import endpoints
from tests.support.apiserver import running_server

from kubeling.cli.demo_run.link import Link
from kubeling.cli.demo_run.session import Session
from kubeling.cli.instance import Instance
from kubeling.kube.client import Client
from kubeling.kube.objects import deletion_requested, name, new_object, uid
from kubeling.kube.resources import CONFIG_MAPS


async def collect(client: Client) -> None:
    """What the garbage collector does: it lets go of what has nothing that depends on it."""
    async for event in client.watch(CONFIG_MAPS, "default"):
        if deletion_requested(event.object) and event.type != "DELETED":
            freed = {"metadata": {"finalizers": None}}
            await client.patch(CONFIG_MAPS, name(event.object), freed, "default")


async def test_an_object_of_an_earlier_run_goes_first(tmp_path: Path) -> None:
    async with running_server() as running, aiohttp.ClientSession() as http:
        link = Link(Instance(tmp_path), endpoints(tmp_path, pid=os.getpid(), port=1))
        await link.close()
        link.client = running.client
        session = Session(link, tmp_path, http)
        collecting = asyncio.create_task(collect(running.client))
        uids = set()
        for key in ("a", "b"):
            await session.renew(new_object(CONFIG_MAPS, "left", "default", data={key: "1"}))
            found = await running.client.get(CONFIG_MAPS, "left", "default")
            assert found["data"] == {key: "1"}
            uids.add(uid(found))
        collecting.cancel()
        assert len(uids) == 2
