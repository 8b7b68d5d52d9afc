"""Events are counted, not repeated; only one of several candidates leads."""

from __future__ import annotations

import asyncio

from tests.support.apiserver import running_server

from kubeling.kube.clock import FakeClock
from kubeling.kube.events import EventRecorder
from kubeling.kube.leader import LeaderElection, LeaseConfig
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, EVENTS, LEASES


async def test_the_same_event_again_raises_its_count() -> None:
    async with running_server() as running:
        client = running.client
        about = await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "a", "default"))
        recorder = EventRecorder(client, "test")
        for _ in range(3):
            await recorder.warning(about, "Broken", "it broke")
        await recorder.normal(about, "Mended", "it works")
        await EventRecorder(client, "test").warning(about, "Broken", "it broke")
        listed = await client.list(EVENTS, "default", fields="involvedObject.name=a")
        counts = {event["reason"]: event["count"] for event in listed.items}
        assert counts == {"Broken": 4, "Mended": 1}, "a restarted recorder goes on counting"
        assert all(e["firstTimestamp"] and e["lastTimestamp"] for e in listed.items)


async def test_a_second_candidate_leads_only_when_the_first_is_gone() -> None:
    clock = FakeClock()
    leads: asyncio.Queue[str] = asyncio.Queue()

    def work(identity: str):  # type: ignore[no-untyped-def]
        async def run() -> None:
            leads.put_nowait(identity)
            await asyncio.Event().wait()

        return run

    async with running_server() as running:
        first, second = (
            LeaderElection(running.client, LeaseConfig("x", identity, "default"), clock)
            for identity in ("first", "second")
        )
        leading = asyncio.create_task(first.run(work("first")))
        async with asyncio.timeout(10):
            assert await leads.get() == "first"
        waiting = asyncio.create_task(second.run(work("second")))
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        lease = await running.client.get(LEASES, "x", "default")
        assert lease["spec"]["holderIdentity"] in ("", "second"), "a leader that stops lets go"
        async with asyncio.timeout(10):
            while leads.empty():
                clock.advance(2)
                await asyncio.sleep(0)
        assert await leads.get() == "second"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
