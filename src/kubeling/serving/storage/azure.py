"""Models in Azure Blob Storage: ``https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH``.

Upstream's credentials: a service principal (``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``,
``AZURE_CLIENT_SECRET``, or the older ``AZ_…``), a bearer token, the account's key, or a shared
access signature in the address. ``AZURE_SERVICE_URL`` names another endpoint, such as an emulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.object_stores import azure_store
from kubeling.serving.storage.uris import ModelUri

if TYPE_CHECKING:
    from obstore.store import AzureConfig

__all__ = ["ADVICE", "blob_container"]

ADVICE: Final = (
    "put AZURE_STORAGE_ACCESS_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, "
    "into a secret of the service account"
)


def blob_container(address: ModelUri, env: Mapping[str, str]) -> tuple[Bucket, str]:
    """The container, and the path of the model in it."""
    parts = urlsplit(address.text)
    container, _, path = parts.path.lstrip("/").partition("/")
    if not container or not path.strip("/"):
        raise ArtifactError(f"{address.shown} names no container and path; check storageUri")
    endpoint = env.get("AZURE_SERVICE_URL") or f"https://{parts.netloc}"
    account = env.get("AZURE_ACCOUNT_NAME") or (parts.hostname or "").partition(".")[0]
    settings: AzureConfig = {"account_name": account, "endpoint": endpoint.rstrip("/")}
    settings.update(_credentials(env, parts.query))
    return azure_store(container, settings), path


def _credentials(env: Mapping[str, str], signature: str) -> AzureConfig:
    """As upstream prefers them: a service principal, a token, the account's key."""

    def value(name: str) -> str:
        return env.get(f"AZURE_{name}") or env.get(f"AZ_{name}") or ""

    if value("CLIENT_ID") and value("CLIENT_SECRET"):
        return {
            "tenant_id": value("TENANT_ID"),
            "client_id": value("CLIENT_ID"),
            "client_secret": value("CLIENT_SECRET"),
        }
    if token := value("ACCESS_TOKEN"):
        return {"token": token}
    if key := value("STORAGE_ACCESS_KEY"):
        return {"account_key": key}
    return {"sas_key": signature} if signature else {"skip_signature": True}
