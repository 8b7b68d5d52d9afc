"""The work queue: one key, one worker, nothing lost."""

import asyncio

from kubeling.kube.queue import WorkQueue


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_changed_while_worked_on_is_handed_out_again_when_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0, "no second worker may get it now"
    queue.done(key)
    assert await queue.get() == "a"


async def test_failures_back_off_and_success_forgets_them() -> None:
    queue: WorkQueue[str] = WorkQueue(base_delay=1.0, max_delay=3.0)
    delays = [queue.add_rate_limited("a") for _ in range(4)]
    assert delays == [1.0, 2.0, 3.0, 3.0]
    queue.forget("a")
    assert queue.add_rate_limited("a") == 1.0
    queue.close()


async def test_an_earlier_appointment_stays_and_adding_now_ends_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 120)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0
    queue.close()


async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_what_is_begun_goes_before_what_is_not_but_never_alone() -> None:
    queue: WorkQueue[str] = WorkQueue(begun=lambda key: key.startswith("begun"))
    for number in range(20):
        queue.add(f"new-{number}")
    for number in range(20):
        queue.add(f"begun-{number}")
    assert len(queue) == 40
    handed = [await queue.get() for _ in range(40)]
    first = [key.partition("-")[0] for key in handed[:16]]
    assert first.count("begun") == 14, "those under way first"
    assert first.count("new") == 2, "and some that wait for their beginning"
    for kind in ("new", "begun"):
        assert [k for k in handed if k.startswith(kind)] == [f"{kind}-{n}" for n in range(20)]
