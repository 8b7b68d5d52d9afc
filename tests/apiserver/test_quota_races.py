"""A quota holds at every moment, whoever creates, grows and deletes at once."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from tests.support.apiserver import running_server

from kubeling.apiserver.records import Event
from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists, Conflict, Forbidden, NotFound
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, PODS, Resource

QUOTAS = Resource("", "v1", "ResourceQuota", "resourcequotas")
LIMITS = {"pods": "3", "requests.cpu": "1", "count/configmaps": "4"}
WRITERS, WRITES = 8, 25


def pod(name: str, millicores: int) -> Obj:
    resources = {"requests": {"cpu": f"{millicores}m"}}
    container = {"name": "c", "image": "busybox", "resources": resources}
    return new_object(PODS, name, "default", spec={"containers": [container]})


async def write(client: Client, chance: random.Random) -> int:
    """How many writes were refused for want of quota."""
    refused = 0
    for _ in range(WRITES):
        name = chance.choice("abcdefgh")
        try:
            with contextlib.suppress(AlreadyExists, NotFound, Conflict):
                match chance.randrange(5):
                    case 0 | 1:
                        await client.create(PODS, pod(name, chance.choice([100, 400, 700])))
                    case 2:
                        await client.delete(PODS, name, "default", grace_period_seconds=0)
                    case 3:
                        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, name, "default"))
                    case _:
                        await client.delete(CONFIG_MAPS, name, "default")
        except Forbidden as error:
            refused += "exceeded quota: all" in error.message
    return refused


@pytest.mark.parametrize("seed", range(2))
async def test_a_quota_is_never_exceeded_whoever_writes_at_once(seed: int, fuzz: int) -> None:
    chance = random.Random(seed * 1000 + fuzz)
    async with running_server() as running, asyncio.timeout(120):
        there: dict[tuple[str, str], int] = {}
        most = {"pods": 0, "cpu": 0, "configmaps": 0}

        def note(event: Event) -> None:
            key = (event.record.key.resource, event.record.key.name)
            there.pop(key, None)
            if event.type != "DELETED" and event.record.key.namespace == "default":
                there[key] = _millicores(event.record.obj)
            pods = [cpu for (resource, _), cpu in there.items() if resource == "/pods"]
            most["pods"] = max(most["pods"], len(pods))
            most["cpu"] = max(most["cpu"], sum(pods))
            most["configmaps"] = max(most["configmaps"], len(there) - len(pods))

        for resource in ("/pods", "/configmaps"):
            running.server.store.subscribe(resource, note)
        quota = new_object(QUOTAS, "all", "default", spec={"hard": LIMITS})
        await running.client.create(QUOTAS, quota)
        async with asyncio.TaskGroup() as group:
            writers = [
                group.create_task(write(running.client, random.Random(chance.random())))
                for _ in range(WRITERS * fuzz)
            ]
        assert most["pods"] <= 3
        assert most["cpu"] <= 1000
        assert most["configmaps"] <= 4
        assert sum(task.result() for task in writers), "nobody came up against it"


def _millicores(obj: Obj) -> int:
    if obj["kind"] != "Pod":
        return 0
    requests = obj["spec"]["containers"][0]["resources"]["requests"]
    return int(requests["cpu"].removesuffix("m"))
