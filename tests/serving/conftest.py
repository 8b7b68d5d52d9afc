"""A tiny language model, for the tests that ask one; who needs another one has its own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.language_models import asking, gpt2, loaded


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
