"""Settings of the stores: the environment and, over it, KServe's ``storage-config`` entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from kubeling.artifacts.errors import ArtifactError

__all__ = ["store_settings"]

_FIELDS: Final = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_DEFAULT_REGION",
    "anonymous": "awsAnonymousCredential",
    "ca_bundle": "AWS_CA_BUNDLE",
    "verify_ssl": "S3_VERIFY_SSL",
}
_HDFS: Final = ("hdfs", "webhdfs")


def store_settings(env: Mapping[str, str]) -> dict[str, str]:
    """The environment overlaid by ``STORAGE_CONFIG``, and that by ``STORAGE_OVERRIDE_CONFIG``."""
    settings = dict(env)
    for variable in ("STORAGE_CONFIG", "STORAGE_OVERRIDE_CONFIG"):
        text = env.get(variable)
        if not text:
            continue
        try:
            entry = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{variable} is not valid JSON: {error}") from None
        if not isinstance(entry, dict):
            raise ArtifactError(f"{variable} is no JSON object")
        for field, name in _FIELDS.items():
            if entry.get(field):
                settings[name] = str(entry[field])
        if entry.get("type") in _HDFS:
            settings |= {key: str(value) for key, value in entry.items() if key.isupper()}
    return settings
