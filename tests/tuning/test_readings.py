"""What charts and logs are made from: that there is more to draw, and a log as one text."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kubeling.metadata.database import Database
from kubeling.tuning.api.json_string import json_string
from kubeling.tuning.api.readings import TrialReadings
from kubeling.tuning.metrics import Reading
from kubeling.tuning.observations import ObservationStore


async def test_the_word_changes_with_every_reading_and_only_then(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")
    store, readings = ObservationStore(lambda: database), TrialReadings(lambda: database)
    loss = Reading("loss", "0.5", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    seen = [await readings.revision("team", ["a", "b"])]

    async def changed() -> bool:
        seen.append(await readings.revision("team", ["a", "b"]))
        return seen[-1] != seen[-2]

    for _ in range(2):
        await store.report("team", "a", [loss])
        assert await changed()
    for place in range(2):
        await store.record("team", "b", "pod.0", [(place, loss)])
        assert await changed()
    await store.begin("team", "b", "pod.1")
    await store.record("team", "b", "pod.1", [(1, loss)])
    assert await changed()
    await store.report("team", "b", [loss])
    assert await changed()
    await store.report("other", "a", [loss])
    assert not await changed()
    database.close()


@given(st.text(max_size=40).map(str.encode) | st.binary(max_size=40), st.integers(1, 9))
def test_a_log_is_one_text_however_it_comes(log: bytes, size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(log), size):
            yield log[start : start + size]

    async def sent() -> bytes:
        return b"".join([piece async for piece in json_string(pieces())])

    assert json.loads(asyncio.run(sent())) == log.decode(errors="replace")
