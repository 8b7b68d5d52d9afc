from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.kube.informer import Informers


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with running_server(data_dir=tmp_path) as running, Informers(running.client) as informers:
        yield Context(running.client, informers, Settings(tmp_path, tmp_path))
