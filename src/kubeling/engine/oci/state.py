"""What an engine says of a container, as far as podman and docker agree."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Final

import msgspec

from kubeling.engine.oci.client import EngineError
from kubeling.engine.oci.records import EngineRecord

__all__ = ["NOT_STARTED", "State", "inspect", "remove", "seconds_of"]

NOT_STARTED: Final = ("created", "configured", "initialized")


class State(msgspec.Struct, rename="pascal"):
    """The answer to ``inspect``."""

    status: str
    running: bool = False
    pid: int = 0
    exit_code: int = 0
    started_at: str = ""
    finished_at: str = ""
    error: str = ""
    out_of_memory: bool = msgspec.field(name="OOMKilled", default=False)


async def inspect(record: EngineRecord) -> State:
    answer = await record.client.ask(
        "inspect", "--type", "container", "--format", "{{json .State}}", record.name
    )
    return msgspec.convert(answer, State)


async def remove(record: EngineRecord) -> None:
    with contextlib.suppress(EngineError):
        at_once = ["--time", "0"] if record.engine == "podman" else []
        await record.client.run("rm", "--force", *at_once, "--volumes", record.name)


def seconds_of(stamp: str) -> float:
    """A time of the engine as seconds since the epoch; 0 for none (its year 1)."""
    try:
        return max(dt.datetime.fromisoformat(stamp).timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0
