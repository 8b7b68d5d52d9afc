"""What is recorded of a request, and how a service says what it wants recorded."""

from __future__ import annotations

import datetime as dt
import functools
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec

__all__ = [
    "NO_JSON",
    "PREFIX",
    "Counts",
    "Kind",
    "LogSettings",
    "Mode",
    "Record",
    "RequestLog",
    "new_record",
]

Mode = Literal["all", "request", "response"]
Kind = Literal["request", "response"]

NO_JSON: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What encoding raises: what a model answers may be anything."""


PREFIX: Final = "LOGGER_"
"""Begins the names of the environment by which the log, and not the model, gets at its store."""


class LogSettings(msgspec.Struct, rename="camel", omit_defaults=True):
    """The ``logger`` of a component, with what its annotations add, as pods are handed it.

    ``path`` and ``format`` are of its ``storage``; ``batch_interval`` is in seconds. ``failures``
    has answers other than 200 sent, too, which upstream leaves out.
    """

    url: str = ""
    mode: Mode = "all"
    metadata_headers: list[str] = []
    annotations: dict[str, str] = {}
    path: str = ""
    format: str = ""
    batch_size: int = 1
    batch_interval: float = 0.0
    failures: bool = False


@dataclass(slots=True)
class Counts:
    """How many records were written, and how many were not."""

    written: int = 0
    dropped: int = 0

    def text(self) -> list[str]:
        """As Prometheus reads it."""
        return [
            "# HELP kubeling_request_log_written_total Requests and answers recorded",
            "# TYPE kubeling_request_log_written_total counter",
            f"kubeling_request_log_written_total {self.written}",
            "# HELP kubeling_request_log_dropped_total Those not recorded: no room, or refused",
            "# TYPE kubeling_request_log_dropped_total counter",
            f"kubeling_request_log_dropped_total {self.dropped}",
        ]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One request and its answer."""

    id: str
    model: str
    revision: str
    time: str
    status: int
    request: Any
    response: Any
    headers: Mapping[str, str] = {}


def new_record(
    model: str,
    status: int,
    request: Any,
    response: Any,
    headers: Mapping[str, str] | None = None,
) -> Record:
    """A record of now; its id is the request's own, if it has one."""
    sent = headers or {}
    given = sent.get("ce-id") or sent.get("x-request-id") or _new_id()
    if not given.isascii():
        # A header may hold bytes that are no text, which no sink could take.
        given = given.encode(errors="replace").decode()
    return Record(given, model, _revision(), _now(), status, request, response, sent)


def _new_id() -> str:
    """A random UUID without a system call: it names, and hides nothing."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _now() -> str:
    seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(seconds)}.{fraction:06d}+00:00"


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """Requests of one second share all but the fraction."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@functools.cache
def _revision() -> str:
    return os.environ.get("SERVING_REVISION", "")


class RequestLog(Protocol):
    """Takes records. ``add`` never blocks and never raises."""

    def add(self, record: Record) -> None:
        """Records, or drops and counts."""
        ...
