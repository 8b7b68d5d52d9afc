from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, running_node


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


@pytest.fixture
async def node(tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    async with running_node(tmp_path / "data", api) as running:
        yield running
