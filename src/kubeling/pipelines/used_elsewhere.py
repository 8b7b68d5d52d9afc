"""Artifacts that something other than a run refers to: registered models, and models served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import aiohttp

from kubeling.component import Context
from kubeling.kube.errors import NotFound
from kubeling.kube.resources import Resource

__all__ = ["UnknownUse", "addresses_in_use"]

_INFERENCE_SERVICES: Final = Resource(
    "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices"
)
_REGISTRY: Final = "/api/model_registry/v1alpha3/model_artifacts"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)


class UnknownUse(Exception):
    """It cannot be found out what is used, so nothing may be deleted."""


async def addresses_in_use(context: Context) -> set[str]:
    """The addresses of registered and of served models."""
    return await _registered(context.settings.gateway_url) | await _served(context)


async def _registered(gateway: str) -> set[str]:
    found: set[str] = set()
    query = {"pageSize": "100"}
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                async with session.get(gateway + _REGISTRY, params=query) as response:
                    response.raise_for_status()
                    page = await response.json()
                found |= {str(item["uri"]) for item in page.get("items") or () if item.get("uri")}
                token = page.get("nextPageToken")
                if not token:
                    return found
                query["nextPageToken"] = token
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UnknownUse(f"the model registry at {gateway} does not answer: {error}") from error


async def _served(context: Context) -> set[str]:
    try:
        services = await context.client.list(_INFERENCE_SERVICES)
    except NotFound:
        return set()
    return {text for item in services.items for text in _storage(item.get("spec"))}


def _storage(value: Any) -> Iterator[str]:
    """Every ``storageUri`` and ``storage.path`` in a spec, wherever it is."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("storageUri", "path") and isinstance(item, str):
                yield item
            else:
                yield from _storage(item)
    elif isinstance(value, list):
        for item in value:
            yield from _storage(item)
