"""What is kept in an attempt's folder about its container in the engine (``engine.json``).

Written before the container is made, so that whatever a crash leaves behind is found by name, and
once more when its end has been looked up, so that this is done once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from kubeling.engine.atomic import write_file
from kubeling.engine.oci.client import ContainerEngine
from kubeling.engine.paths import ContainerPaths

__all__ = ["EngineRecord", "read_engine_record", "write_engine_record"]


class EngineRecord(msgspec.Struct, frozen=True):
    """An attempt's container: whose it is, what it is called, how it wants to be stopped."""

    engine: Literal["podman", "docker"]
    program: str
    name: str
    stop_signal: str
    pid: int = 0
    settled: bool = False

    @property
    def client(self) -> ContainerEngine:
        return ContainerEngine(self.engine, Path(self.program))


def read_engine_record(paths: ContainerPaths) -> EngineRecord | None:
    try:
        return msgspec.json.decode(paths.engine.read_bytes(), type=EngineRecord)
    except FileNotFoundError:
        return None


def write_engine_record(paths: ContainerPaths, record: EngineRecord) -> None:
    write_file(paths.engine, msgspec.json.encode(record))
