"""Buckets that models lie in, with the environment's names of the stores' SDKs and of KServe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import GCS, S3, Secret
from kubeling.artifacts.object_stores import gcs_bucket, s3_bucket
from kubeling.serving.storage.uris import ModelUri

__all__ = ["model_bucket"]

_ACCOUNT_KEY: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_AUTHORITY: Final = "AWS_CA_BUNDLE"


def model_bucket(address: ModelUri, env: Mapping[str, str]) -> Bucket:
    """The bucket of a ``gs://``, ``s3://`` or ``minio://`` address."""
    return _gcs(address, env) if address.scheme == "gs" else _s3(address, env)


def _gcs(address: ModelUri, env: Mapping[str, str]) -> Bucket:
    """Anonymous unless a file with a service account's key is named."""
    host = env.get("STORAGE_EMULATOR_HOST", "")
    file = env.get(_ACCOUNT_KEY, "")
    location = GCS(
        bucket=address.root,
        key=address.path,
        endpoint=f"http://{host}" if host and "://" not in host else host,
        service_account_key_secret=Secret(env=_ACCOUNT_KEY) if file else None,
    )
    key = _read(_ACCOUNT_KEY, env) if file else ""
    return gcs_bucket(location, {_ACCOUNT_KEY: key})


def _s3(address: ModelUri, env: Mapping[str, str]) -> Bucket:
    """Anonymous unless there are keys."""
    anonymous = _is_on(env, "awsAnonymousCredential")
    known = not anonymous and env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY")

    def secret(name: str) -> Secret | None:
        return Secret(env=name) if known and env.get(name) else None

    def is_off(name: str) -> bool:
        return env.get(name, "1").lower() in ("0", "false")

    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT")
    location = S3(
        bucket=address.root,
        key=address.path,
        endpoint=next((env[name] for name in endpoints if env.get(name)), ""),
        insecure=is_off("S3_USE_HTTPS"),
        addressing_style="virtual-hosted" if _is_on(env, "S3_USER_VIRTUAL_BUCKET") else "",
        ca_secret=Secret(env=_AUTHORITY) if env.get(_AUTHORITY) else None,
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "",
        access_key_secret=secret("AWS_ACCESS_KEY_ID"),
        secret_key_secret=secret("AWS_SECRET_ACCESS_KEY"),
        session_token_secret=secret("AWS_SESSION_TOKEN"),
    )
    authority = {_AUTHORITY: _read(_AUTHORITY, env)} if env.get(_AUTHORITY) else {}
    known_env = {**env, **authority}
    return s3_bucket(location, known_env, check_certificate=not is_off("S3_VERIFY_SSL"))


def _is_on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() in ("1", "true")


def _read(name: str, env: Mapping[str, str]) -> str:
    try:
        return Path(env[name]).read_text()
    except OSError as error:
        raise ArtifactError(f"{name} names a file that cannot be read: {error}") from None
