"""The file that lists a server's models, in upstream's form (``models.json``).

``[{"modelName": …, "modelSpec": {"storageUri": …, "framework": …, "memory": …}}]``
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = ["Listing", "ModelSpec", "failed_line", "failure_in", "read_sources", "write_sources"]

_SOURCES: Final = ".sources.json"
_AGAIN: Final = "; trying again"


class ModelSpec(msgspec.Struct, frozen=True, rename="camel"):
    """A model as it is listed; any field that changes makes it another one."""

    storage_uri: str = ""
    framework: str = ""
    memory: Any = ""

    @property
    def digest(self) -> str:
        """Tells it from the others of its name."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    @property
    def uri(self) -> str:
        """Where it is; raises :class:`ValueError`."""
        if not self.storage_uri:
            raise ValueError("modelSpec.storageUri is missing")
        return self.storage_uri


class Listing:
    """Reads the list, and says once what is wrong with it."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._said: list[str] = []

    def read(self) -> dict[str, ModelSpec] | None:
        """The models by name, none of them if there is no list; ``None`` if it cannot be read.

        That is no list of no models, and unloads nothing. An entry without a usable name is left
        out; one with a name and nothing to fetch keeps what has that name.
        """
        wrong: list[str] = []
        try:
            entries = msgspec.json.decode(self._config.read_bytes())
            if not isinstance(entries, list):
                raise ValueError("is no list")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self._say([f"{self._config}: {error}; the models stay as they are"])
            return None
        found = dict(_specs(entries, wrong))
        self._say(wrong)
        return found

    def _say(self, wrong: list[str]) -> None:
        for line in wrong:
            if line not in self._said:
                print(line, file=sys.stderr, flush=True)
        self._said = wrong


def _specs(entries: list[Any], wrong: list[str]) -> Iterator[tuple[str, ModelSpec]]:
    for index, entry in enumerate(entries):
        named = entry.get("modelName") if isinstance(entry, dict) else None
        if not isinstance(named, str) or not named or named.startswith(".") or "/" in named:
            wrong.append(f"entry {index} of the list has no usable modelName: {named!r}")
            continue
        try:
            yield named, msgspec.convert(entry.get("modelSpec"), ModelSpec)
        except msgspec.ValidationError as error:
            wrong.append(f"model {named}: modelSpec: {error}")
            yield named, ModelSpec()


def failed_line(model: str, why: str) -> str:
    """What an agent writes to its log when a model cannot be brought."""
    return f"model {model}: {' '.join(why.split())}{_AGAIN}"


def failure_in(log: str, model: str) -> str:
    """Why a model could not be brought last, by an agent's log; nothing if that says nothing."""
    start = f"model {model}: "
    lines = [line for line in log.splitlines() if line.startswith(start) and line.endswith(_AGAIN)]
    return lines[-1].removeprefix(start).removesuffix(_AGAIN) if lines else ""


def write_sources(models: Path, sources: dict[str, str]) -> None:
    """Says beside a server's models which of a name it has loaded: by name, the digest."""
    new = models / f"{_SOURCES}.new"
    new.write_bytes(msgspec.json.encode(sources))
    os.replace(new, models / _SOURCES)


def read_sources(models: Path) -> dict[str, str]:
    """What the agent has said of a server's models; nothing where there is none."""
    try:
        return msgspec.json.decode((models / _SOURCES).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
