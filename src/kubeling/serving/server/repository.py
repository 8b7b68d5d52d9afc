"""The models of a server, by name and version, and how they come and go.

``ModelRepository`` has the methods of kserve's class of that name that do not concern its folder;
``FolderRepository`` fills it from a folder. A folder whose entries are all numbers holds the
versions of one model, as Triton and TensorFlow Serving keep them; the highest answers where none is
asked for. A folder with entries of other names may hold further models, loaded when they are asked
for by name, which is what TrainedModel needs. While a model is loaded again, the one there was goes
on answering.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from kubeling.serving.multimodel.listing import read_sources
from kubeling.serving.server.errors import (
    InvalidInput,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
)
from kubeling.serving.server.model import Model

__all__ = ["FolderRepository", "IndexEntry", "ModelRepository", "check_overrides"]

log = logging.getLogger(__name__)

State = Literal["READY", "UNAVAILABLE", "LOADING"]
_KEPT_FAILURES: Final = 100


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the repository's index says of a version."""

    name: str
    version: str
    state: State
    reason: str = ""
    source: str = ""
    """Which of several models of the name it is, where an agent brings them."""


class ModelRepository:
    """Models by name; of each, versions by number, the default under ``""`` or its number."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._versions: dict[str, dict[str, Model]] = {}
        self._failures: dict[str, str] = {}
        self._lock = asyncio.Lock()
        for model in models:
            self.update(model)

    def get_models(self) -> dict[str, Model]:
        """The default version of each model."""
        return {name: self._default(name) for name in self._versions}

    def get_model(self, name: str, version: str = "") -> Model | None:
        """A version of a model, or the default one."""
        found = self._versions.get(name)
        if found is None:
            return None
        if len(found) == 1 and not version:
            return next(iter(found.values()))
        return found.get(version) if version else self._default(name)

    def model(self, name: str, version: str = "") -> Model:
        """As :meth:`get_model`; raises :class:`ModelNotFound`."""
        found = self.get_model(name, version)
        if found is not None:
            return found
        if name not in self._versions:
            raise ModelNotFound(f"Model with name {name} does not exist.")
        known = ", ".join(self.versions(name)) or "none, as the model is not versioned"
        raise ModelNotFound(f"Model {name} has no version {version}; there are: {known}")

    def versions(self, name: str) -> list[str]:
        """The numbers of a model's versions, lowest first; none if it has no versions."""
        return sorted((v for v in self._versions.get(name, ()) if v), key=_number)

    def version_of(self, name: str, version: str = "") -> str:
        """The version that answers; empty if the model has none."""
        if version:
            return version
        found = self._versions.get(name, {})
        return next(iter(found)) if len(found) == 1 else next(reversed(self.versions(name)), "")

    def update(self, model: Model, name: str | None = None, version: str = "") -> None:
        """Adds a model, or puts it in another's place."""
        self._versions.setdefault(name or model.name, {})[version] = model

    async def is_model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model can answer."""
        found = self.get_model(name, version)
        return found is not None and await found.healthy()

    async def load(self, name: str) -> None:
        """Loads a model again, or anew; raises :class:`ModelNotReady` with the reason."""
        async with self._lock:
            try:
                await self._load(name)
            except ModelLoadError as error:
                self._note_failure(name, str(error))
                raise ModelNotReady(f"Model with name {name} is not ready: {error}") from error
            self._failures.pop(name, None)
            if not await self.is_model_ready(name):
                raise ModelNotReady(f"Model with name {name} is not ready.")

    def _note_failure(self, name: str, why: str) -> None:
        """Keeps the latest ones: anybody may ask for any name."""
        self._failures.pop(name, None)
        self._failures[name] = why
        while len(self._failures) > _KEPT_FAILURES:
            del self._failures[next(iter(self._failures))]

    async def unload(self, name: str) -> None:
        """Takes a model away; raises :class:`ModelNotFound`."""
        async with self._lock:
            if name not in self._versions:
                raise ModelNotFound(f"Model with name {name} does not exist.")
            for model in self._versions.pop(name).values():
                _stop(model)

    def index(self) -> list[IndexEntry]:
        """All models and versions, those that failed to load with the reason."""
        found = [
            IndexEntry(name, version, "READY" if model.ready else "UNAVAILABLE")
            for name, versions in sorted(self._versions.items())
            for version, model in sorted(versions.items(), key=lambda entry: _number(entry[0]))
        ]
        failed = sorted(self._failures.items())
        return found + [
            IndexEntry(name, "", "UNAVAILABLE", why)
            for name, why in failed
            if name not in self._versions
        ]

    async def close(self) -> None:
        """Stops all models."""
        for name in list(self._versions):
            await self.unload(name)

    async def _load(self, name: str) -> None:
        for model in list(self._versions.get(name, {}).values()):
            await load_model(model)
        if name not in self._versions:
            raise ModelLoadError("there is no such model, and no folder to load it from")

    def _default(self, name: str) -> Model:
        return self._versions[name][self.version_of(name)]


class FolderRepository(ModelRepository):
    """A model of a format in a folder, and further ones in folders below it."""

    def __init__(self, name: str, folder: Path, create: Callable[[str, Path], Model]) -> None:
        super().__init__()
        self._name = name
        self._folder = folder
        self._create = create

    def index(self) -> list[IndexEntry]:
        """The same, with which model of a name the agent had loaded."""
        sources = read_sources(self._folder)
        return [replace(one, source=sources.get(one.name, "")) for one in super().index()]

    async def load_all(self) -> None:
        """Loads the model; raises :class:`ModelLoadError`."""
        await self._load(self._name)

    async def _load(self, name: str) -> None:
        folder = self._folder
        if name != self._name or not name:
            folder = self._folder / name
            # What begins with a dot is no model, or one that is still being brought.
            if not name or name.startswith(".") or "/" in name or not _is_folder(folder):
                raise ModelLoadError(f"there is no folder {name} in {self._folder}")
        found: dict[str, Model] = {}
        try:
            for version, place in versions_of(folder):
                found[version] = self._create(name, place)
                await load_model(found[version])
        except BaseException:
            for model in found.values():
                _stop(model)
            raise
        before = self._versions.get(name, {})
        self._versions[name] = found
        for model in before.values():
            _stop(model)


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:
        # A name that no file can have.
        return False


def check_overrides(given: Iterable[str]) -> None:
    """Refuses what Triton's clients may send with a load; raises :class:`InvalidInput`."""
    others = sorted(key for key in given if key == "config" or key.startswith("file:"))
    if others:
        raise InvalidInput(
            f"a model is loaded as its folder has it; leave out {', '.join(others)[:200]}"
        )


def versions_of(folder: Path) -> list[tuple[str, Path]]:
    """The versions in a folder of a model: their numbers and folders, or one without a number."""
    entries = [e for e in folder.iterdir() if not e.name.startswith(".")] if folder.is_dir() else []
    if entries and all(entry.name.isdecimal() and entry.is_dir() for entry in entries):
        return [(entry.name, entry) for entry in sorted(entries, key=lambda e: _number(e.name))]
    return [("", folder)]


async def load_model(model: Model) -> None:
    """Loads a model in a thread, so that requests to others are answered meanwhile."""
    try:
        found = await asyncio.to_thread(model.load)
        if isinstance(found, Awaitable):
            found = await found
    except OSError as error:
        raise ModelLoadError(str(error)) from error
    model.ready = found is None or bool(found)


def _stop(model: Model) -> None:
    try:
        model.stop()
        if model.engine:
            model.stop_engine()
    except Exception:
        # A model of one's own may raise anything; the others have to be stopped all the same.
        log.exception("stopping model %s", model.name)
    model.ready = False


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1
