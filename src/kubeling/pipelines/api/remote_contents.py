"""The files of artifacts that lie in buckets, over HTTP: passed on in pieces, never kept.

Of what is only looked at, no more is asked of the store than is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from aiohttp import web

from kubeling.artifacts.errors import ArtifactAway, ArtifactError, ArtifactNotFound
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError, UnavailableError
from kubeling.pipelines.api.streaming import ARCHIVES, MAX_LISTED, first_member, folder, stream
from kubeling.pipelines.bucket_access import open_bucket
from kubeling.pipelines.previews import HEAD, text_preview

if TYPE_CHECKING:
    from kubeling.artifacts.buckets import Bucket, StoredObject

__all__ = ["RemoteContents"]


class RemoteContents:
    """Answers with what a namespace's artifacts hold that are in buckets."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def answer(
        self,
        request: web.Request,
        uri: str,
        below: str = "",
        *,
        peek: int = 0,
        unpack: bool = False,
    ) -> web.StreamResponse:
        """An object, its beginning, or the list of what is below the address."""
        with _told():
            bucket, found = await self._find(uri, below)
            if isinstance(found, dict):
                return folder(found)
            key = found.key
            if unpack and key.endswith(ARCHIVES):
                unpacked = lambda: first_member(lambda: bucket.open(key))  # noqa: E731
                return await stream(request, unpacked, key, peek)
            if 0 < peek <= HEAD:
                head = await asyncio.to_thread(bucket.head, found, peek)
                return await stream(request, lambda: iter((head,)), key, peek)
            return await stream(request, lambda: bucket.open(key), key, peek)

    async def preview(self, uri: str, title: str, below: str) -> Obj:
        """What a page needs to draw an object; of a folder, the list of what is in it."""
        with _told():
            bucket, found = await self._find(uri, below)
            if isinstance(found, dict):
                return {"kind": "folder", **found}
            head = await asyncio.to_thread(bucket.head, found, HEAD)
            return text_preview(title, found.key.rpartition("/")[2], head, found.size)

    async def _find(self, uri: str, below: str) -> tuple[Bucket, StoredObject | Obj]:
        """The object at an address, or the list of those below it."""
        bucket, key = await open_bucket(self._client, self._namespace, uri)
        key = f"{key}/{below}".strip("/")
        objects = await asyncio.to_thread(lambda: list(islice(bucket.objects(key), MAX_LISTED)))
        if not objects:
            raise NotFoundError(f"there is nothing at {uri}")
        if len(objects) == 1 and objects[0].key == key:
            return bucket, objects[0]
        listed = sorted(objects, key=lambda found: found.path)
        return bucket, {"files": [{"path": found.path, "size": found.size} for found in listed]}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what a store refuses into what this API answers."""
    try:
        yield
    except ArtifactNotFound as error:
        raise NotFoundError(str(error)) from None
    except ArtifactAway as error:
        raise UnavailableError(str(error)) from None
    except ArtifactError as error:
        raise InvalidArgumentError(str(error)) from None
