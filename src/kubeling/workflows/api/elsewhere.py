"""Artifacts that lie in the user's own places: loaded for whoever asks, then let go.

The secrets that a place names are read with the caller's rights, as upstream's server does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from kubeling.artifacts.drivers import driver_of
from kubeling.artifacts.errors import ArtifactError, ArtifactNotFound
from kubeling.kube.objects import Obj
from kubeling.workflows.api.errors import InvalidArgument, NotFoundFailure
from kubeling.workflows.exchange import transfer
from kubeling.workflows.places import InvalidPlace, with_place
from kubeling.workflows.resources import Artifact

__all__ = ["loaded"]

ReadSecret = Callable[[str], Awaitable[Obj]]


@contextlib.asynccontextmanager
async def loaded(artifact: Obj, place: Obj, read_secret: ReadSecret) -> AsyncIterator[Path]:
    """The artifact as a file or a folder, for the length of a block."""
    env: list[Obj] = []
    try:
        described = with_place(msgspec.convert(artifact, Artifact), place)
        location = transfer(described, env, outgoing=False).location
    except InvalidPlace as error:
        raise InvalidArgument(str(error)) from None
    values = {entry["name"]: await _value(entry, read_secret) for entry in env}
    with tempfile.TemporaryDirectory(prefix="kubeling-artifact-") as folder:
        target = Path(folder) / _name(artifact, place)
        try:
            await asyncio.to_thread(driver_of(location, values).load, target)
        except ArtifactNotFound as error:
            raise NotFoundFailure(str(error)) from None
        except ArtifactError as error:
            raise InvalidArgument(f"artifact {artifact['name']}: {error}") from None
        yield target


async def _value(entry: Obj, read_secret: ReadSecret) -> str:
    reference = entry["valueFrom"]["secretKeyRef"]
    secret = await read_secret(str(reference.get("name") or ""))
    data = (secret.get("data") or {}).get(reference["key"])
    if data is None:
        raise NotFoundFailure(f'secret "{reference.get("name")}" has no key "{reference["key"]}"')
    return base64.b64decode(data).decode()


def _name(artifact: Obj, place: Obj) -> str:
    """What it is called: the last part of its key or address, else its own name."""
    [content] = place.values()
    text = content.get("key") or content.get("blob") or content.get("url") or ""
    last = str(text).partition("?")[0].rstrip("/").rpartition("/")[2]
    return last if last not in ("", ".", "..") else str(artifact["name"])
