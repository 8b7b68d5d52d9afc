"""The secrets that a service account lists, by which upstream gives pods the way to a store."""

from __future__ import annotations

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SECRETS, SERVICE_ACCOUNTS

__all__ = ["account_secrets"]


async def account_secrets(client: Client, where: str, account: str) -> list[Obj]:
    """Those of them that are there."""
    found = await client.find(SERVICE_ACCOUNTS, account, where)
    listed = [entry["name"] for entry in (found or {}).get("secrets") or ()]
    secrets = [await client.find(SECRETS, title, where) for title in listed]
    return [secret for secret in secrets if secret is not None]
