"""What the platform tells the data plane, and what it hears: length-prefixed MessagePack.

Requests are answered in their order. Objects travel as far as names and addresses need them.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.engine.servicenet.routes import Address, Frontend
from kubeling.kube.objects import Key, Obj, name, namespace

__all__ = [
    "Answer",
    "End",
    "Failure",
    "Front",
    "Hello",
    "Judge",
    "Open",
    "Request",
    "Retain",
    "Serve",
    "packed",
    "receive",
    "trimmed",
]

_HEAD: Final = struct.Struct("!I")
_FIELDS: Final = ("spec", "addressType", "endpoints", "ports")


class Front(NamedTuple):
    """One place that is listened on: who is behind it, and whom it is for."""

    place: Frontend
    behind: tuple[Address, ...]
    affinity: float = 0.0
    sources: tuple[str, ...] = ()
    """Blocks of addresses; empty where it is for all."""


class Failure(NamedTuple):
    """A place that could not be listened on."""

    place: Frontend
    errno: int
    message: str


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first request, answered with the data plane's version."""


class Serve(msgspec.Struct, frozen=True, tag=True):
    """One Service as it is now; without ``service`` it is gone."""

    key: Key
    service: Obj | None = None
    slices: Sequence[Obj] = ()
    fronts: Sequence[Front] = ()


class Retain(msgspec.Struct, frozen=True, tag=True):
    """All Services there are: what is known of others is of an earlier time."""

    keys: Sequence[Key]


class Judge(msgspec.Struct, frozen=True, tag=True):
    """What network policies say; ``None`` where there are none."""

    verdicts: Verdicts | None


class Open(msgspec.Struct, frozen=True, tag=True):
    """All is told: from now on what is not known does not exist."""


class End(msgspec.Struct, frozen=True, tag=True):
    """The platform was stopped on purpose, and its pods with it."""


Request = Hello | Serve | Retain | Judge | Open | End


class Answer(msgspec.Struct, frozen=True):
    """To each request; ``failures`` are those of :class:`Serve`."""

    version: str = ""
    failures: Sequence[Failure] = ()


def packed(message: Request | Answer) -> bytes:
    data = msgspec.msgpack.encode(message)
    return _HEAD.pack(len(data)) + data


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Raises :class:`asyncio.IncompleteReadError` when the other end is gone."""
    (size,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return await reader.readexactly(size)


def trimmed(found: Obj) -> Obj:
    """A Service or EndpointSlice without what names and addresses do not need."""
    metadata = {"name": name(found), "namespace": namespace(found)}
    return {"metadata": metadata, **{field: found[field] for field in _FIELDS if field in found}}
