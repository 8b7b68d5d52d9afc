"""A tally is what counting everything anew would give, whatever was written or forgotten since."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.apiserver.database import Database
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store, Write
from kubeling.apiserver.tallies import Tally
from kubeling.kube.objects import Obj

HISTORY = 4
PUT = st.tuples(
    st.sampled_from(["one", "two"]), st.sampled_from("abc"), st.none() | st.integers(0, 9)
)
"""Where to put which amount; ``None`` deletes."""
BATCHES = st.lists(st.lists(PUT, max_size=7, unique_by=lambda put: put[:2]), max_size=8)


def amounts(obj: Obj) -> Mapping[str, Decimal]:
    return {"things": Decimal(1), "size": Decimal(obj["size"])}


async def _tallied(batches: list[list[tuple[str, str, int | None]]], path: Path) -> None:
    store = Store(Database(path), history_limit=HISTORY)
    store.start()
    tally = Tally(store, "/things", "one", amounts)
    sizes: dict[str, int] = {}
    for batch in batches:
        for namespace, name, size in batch:
            obj = None if size is None else {"metadata": {}, "size": size}
            await store.write(Write(StoreKey("/things", namespace, name), obj))
            if namespace == "one" and size is None:
                sizes.pop(name, None)
            elif namespace == "one" and size is not None:
                sizes[name] = size
        sums = tally.sums()
        assert sums.get("things", 0) == len(sizes)
        assert sums.get("size", 0) == sum(sizes.values())
    await store.close()


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_a_tally_is_what_counting_gives(batches: list[list[tuple[str, str, int | None]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_tallied(batches, Path(folder) / "objects.db"))
