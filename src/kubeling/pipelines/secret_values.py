"""The values of variables that a manifest takes from Secrets."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Any

from kubeling.artifacts.errors import ArtifactError
from kubeling.kube.client import Client
from kubeling.kube.resources import SECRETS

__all__ = ["secret_values"]


async def secret_values(
    client: Client, namespace: str, variables: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """This process' environment and the variables given; raises :class:`ArtifactError`."""
    found = dict(os.environ)
    for variable in variables:
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
        secret = await client.find(SECRETS, reference.get("name", ""), namespace)
        data = (secret or {}).get("data") or {}
        if reference.get("key") not in data:
            raise ArtifactError(
                f'secret "{reference.get("name")}" in namespace "{namespace}" has no '
                f'"{reference.get("key")}", which the artifacts\' store needs'
            )
        found[variable["name"]] = base64.b64decode(data[reference["key"]]).decode()
    return found
