"""A server that answers nobody any more ends, and is started again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from kubeling.serving.server.batching import Runner
from kubeling.serving.server.watchdog import patience, watched

LIMIT = 0.2
STUCK = """
import asyncio, threading
from kubeling.serving.server.batching import Runner
from kubeling.serving.server.watchdog import watched

def waits_for_ever():
    threading.Event().wait()

async def main():
    with watched(0.2):
        Runner().run(waits_for_ever, lambda *_: None)

asyncio.run(main())
"""


async def test_a_prediction_that_never_ends_is_noticed() -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    loop, go = asyncio.get_running_loop(), threading.Event()
    runner = Runner()
    runner.run(lambda: time.sleep(0.05), lambda *_: None)  # so that it is slow
    ended = asyncio.Event()
    with watched(LIMIT, lambda text: loop.call_soon_threadsafe(said.put_nowait, text)):
        runner.run(lambda: go.wait(60), lambda *_: ended.set())
        async with asyncio.timeout(30):
            assert "has taken more than 0.2 s" in await said.get()
        go.set()
        await ended.wait()


async def test_many_predictions_that_end_are_none_that_does_not() -> None:
    said: list[str] = []
    runner = Runner()
    with watched(30, said.append):
        for _ in range(100):
            runner.run(lambda: None, lambda *_: None)
            await asyncio.sleep(0)
    assert said == []


def test_a_server_that_stands_still_says_where_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "in waits_for_ever" in done.stderr
    assert done.stderr.endswith("a prediction has taken more than 0.2 s; the server ends\n")


@pytest.mark.parametrize(
    ("given", "seconds"), [("", 600.0), ("30", 600.0), ("3600", 3600.0), ("x", 600.0)]
)
def test_predictions_may_take_as_long_as_anybody_waits(
    monkeypatch: pytest.MonkeyPatch, given: str, seconds: float
) -> None:
    monkeypatch.setenv("SERVING_TIMEOUT", given)
    assert patience() == seconds
