"""Model servers to ask, as the command starts them, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.http import listening
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.tabular import TabularModel

__all__ = ["Doubler", "serving", "serving_repository"]


class Doubler(TabularModel):
    """Twice the sum of a row's two features; refuses negative ones."""

    def __init__(self, name: str = "double") -> None:
        super().__init__(name, Path("/"))
        self.width = 2
        self.columns = ["a", "b"]
        self.calls: list[int] = []
        self.ready = True
        self.probed = self._probe()
        self.calls.clear()

    def load(self) -> bool:
        return True

    def predict_rows(self, rows: Any) -> Any:
        self.calls.append(len(rows))
        if (rows < 0).any():
            raise ValueError("negative values are not allowed")
        return 2 * rows.sum(axis=1)


@contextlib.asynccontextmanager
async def serving(*models: Model, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with these models."""
    async with serving_repository(ModelRepository(models), **options) as client:
        yield client


@contextlib.asynccontextmanager
async def serving_repository(
    repository: ModelRepository,
    log_folder: Path | None = None,
    *,
    docs: bool = False,
    **options: Any,
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with the models of a repository."""
    app = ModelApp(DataPlane(repository, **options), log_folder, docs=docs)
    async with (
        listening(app, immediately=app.immediately) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client
