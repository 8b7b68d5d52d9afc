"""Buckets as the platform itself reaches them: to show what runs made, and to tidy up.

What the namespace says in the ConfigMap ``kfp-launcher`` counts, with the secrets that it names, so
that pages show what steps could write; for a store that it does not describe, the platform's own
environment does.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import GCS, S3, Location
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, SECRETS
from kubeling.pipelines.launcher import CONFIG_MAP, LauncherError, is_stored, launcher

if TYPE_CHECKING:
    from kubeling.artifacts.buckets import Bucket

__all__ = ["open_bucket"]

_OURS: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS")


async def open_bucket(client: Client, namespace: str, uri: str) -> tuple[Bucket, str]:
    """The bucket of an address, and the key in it; raises :class:`ArtifactError`."""
    if not is_stored(uri):
        scheme = uri.partition("://")[0]
        raise ArtifactError(f'{uri}: "{scheme}" addresses cannot be read; s3, minio and gs can')
    config_map = await client.find(CONFIG_MAPS, CONFIG_MAP, namespace)
    references: list[Obj] = []
    try:
        stores = launcher(config_map)
        location = stores.location(uri, references, [])
    except LauncherError as error:
        raise ArtifactError(str(error)) from None
    if uri.partition("://")[0] not in stores.providers and not uri.startswith("minio://"):
        location = _by_environment(location, os.environ)
    env = {**os.environ, **await _secrets(client, namespace, references)}
    return await asyncio.to_thread(_bucket, location, env)


def _by_environment(location: Location, environ: Mapping[str, str]) -> Location:
    """A store that nobody described: where and who we are is in our own environment."""
    known = any(environ.get(name) for name in _OURS)
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
    match location:
        case S3():
            return S3(location.bucket, location.key, endpoint=endpoint, use_sdk_creds=known)
        case GCS():
            return GCS(location.bucket, location.key, use_sdk_creds=known)
        case _:
            return location


async def _secrets(client: Client, namespace: str, references: list[Obj]) -> dict[str, str]:
    """The values of environment variables that are taken from secrets."""
    found = {}
    for reference in references:
        source = (reference.get("valueFrom") or {}).get("secretKeyRef") or {}
        if not source:
            continue
        secret = await client.find(SECRETS, source["name"], namespace)
        value = ((secret or {}).get("data") or {}).get(source["key"])
        if value is None:
            raise ArtifactError(
                f"Secret {source['name']} of namespace {namespace} has no key {source['key']}, "
                f"which the ConfigMap {CONFIG_MAP} names for this store"
            )
        found[str(reference["name"])] = base64.b64decode(value).decode()
    return found


def _bucket(location: Location, env: Mapping[str, str]) -> tuple[Bucket, str]:
    from kubeling.artifacts import object_stores

    match location:
        case S3():
            return object_stores.s3_bucket(location, env), location.key
        case GCS():
            return object_stores.gcs_bucket(location, env), location.key
        case _:
            raise ArtifactError("only s3, minio and gs stores can be read")
