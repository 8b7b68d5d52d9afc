"""Packages as clients send them: in a form, in a message, or by address."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.wire import query_of
from kubeling.pipelines.packages import MAX_SIZE, Package, read_package, unwrap

__all__ = ["package_of", "stem", "tags_in_query", "uploaded"]

_SUFFIXES = (".tar.gz", ".tgz", ".zip", ".yaml", ".yml", ".json")


async def uploaded(request: web.Request) -> tuple[Package, str]:
    """The package in the form's field ``uploadfile``, and the name of its file."""
    if not request.content_type.startswith("multipart/"):
        raise InvalidArgumentError("multipart/form-data with a field uploadfile is expected")
    async for part in await request.multipart():
        if isinstance(part, aiohttp.BodyPartReader) and part.name == "uploadfile":
            data = bytearray()
            while chunk := await part.read_chunk(1 << 16):
                data += chunk
                if len(data) > MAX_SIZE:
                    raise InvalidArgumentError(f"the file is larger than {MAX_SIZE >> 20} MiB")
            return await _read(bytes(data)), part.filename or ""
    raise InvalidArgumentError("the form has no field uploadfile")


async def package_of(version: Obj) -> tuple[Package, str]:
    """The package of a message, and the address it was fetched from, if it names one."""
    if document := version.get("pipeline_spec"):
        try:
            return unwrap(document), ""
        except ValueError as error:
            raise InvalidArgumentError(f"pipeline_spec: {error}") from None
    url = str((version.get("package_url") or {}).get("pipeline_url") or "")
    if not url.startswith(("http://", "https://")):
        raise InvalidArgumentError(
            "package_url.pipeline_url: Required value: the http(s) address of the pipeline"
        )
    return await _read(await _download(url)), url


def tags_in_query(request: web.Request) -> Any:
    """The query's ``tags``, a JSON object."""
    text = query_of(request, "tags")
    if not text:
        return {}
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"tags: not valid JSON: {error}") from None


def stem(filename: str) -> str:
    """The name of a file without what says its format."""
    for suffix in _SUFFIXES:
        if filename.endswith(suffix):
            return filename.removesuffix(suffix)
    return filename


async def _download(url: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            response.raise_for_status()
            data = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                data += chunk
                if len(data) > MAX_SIZE:
                    raise InvalidArgumentError(
                        f"package_url.pipeline_url: {url} is larger than {MAX_SIZE >> 20} MiB"
                    )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise InvalidArgumentError(f"package_url.pipeline_url: {url}: {error}") from None
    return bytes(data)


async def _read(data: bytes) -> Package:
    try:
        return await asyncio.to_thread(read_package, data)
    except ValueError as error:
        raise InvalidArgumentError(f"invalid pipeline: {error}") from None
