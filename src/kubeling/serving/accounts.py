"""What a service account leads to, by which upstream gives pods the way to a store."""

from __future__ import annotations

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SECRETS, SERVICE_ACCOUNTS
from kubeling.serving.credentials import Access, Conventions, from_secrets

__all__ = ["account_access"]


async def account_access(
    client: Client,
    where: str,
    account: str,
    further: list[Obj] | None = None,
    conventions: Conventions | None = None,
) -> Access:
    """By the secrets that the account lists, by what it says of itself, and by further secrets."""
    found = await client.find(SERVICE_ACCOUNTS, account, where)
    listed = [entry["name"] for entry in (found or {}).get("secrets") or ()]
    secrets = [await client.find(SECRETS, title, where) for title in listed]
    present = [secret for secret in secrets if secret is not None]
    return from_secrets([*present, *(further or ())], found, conventions)
