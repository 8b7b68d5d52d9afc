"""What several tests of serving share: a tiny language model, and the inference gateway.

Who needs another one has a fixture of that name.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from tests.serving.gateway_pods import Client
from tests.serving.language_models import asking, gpt2, loaded
from tests.serving.platform import Serving, front_door, running_serving

from kubeling.gateway.app import create_app
from kubeling.serving.component import COMPONENT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model is."""
    found = tmp_path_factory.mktemp("gpt2")
    gpt2(found)
    return found


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Any]:
    """OpenAI's own client of a server of the model."""
    async with asking(loaded(folder)) as found:
        yield found


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


@pytest.fixture(params=["the long way", "the short way"])
async def gateway(serving: Serving, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client of the application, and of the platform's port, which is quicker about models."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "the short way":
            port = await stack.enter_async_context(front_door(serving.context))
        else:
            server = TestServer(create_app(serving.context, [COMPONENT]))
            await stack.enter_async_context(server)
            port = server.port or 0
        base = f"http://127.0.0.1:{port}"
        yield await stack.enter_async_context(aiohttp.ClientSession(base))
