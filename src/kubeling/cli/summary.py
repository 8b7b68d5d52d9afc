"""The text of ``kubeling status``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from kubeling.cli.discovery import Discovery
from kubeling.cli.instance import Endpoints
from kubeling.kube.client import Client
from kubeling.kube.config import load

__all__ = ["summary"]


def summary(running: Endpoints, *, as_json: bool = False) -> str:
    """Addresses and a count of the objects of every kind that a component defines."""
    counts = asyncio.run(_counts(Path(running.kubeconfig)))
    if as_json:
        shown = {**msgspec.to_builtins(running), "objects": counts}
        return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()
    lines = [
        f"dashboard   {running.dashboard}",
        f"API server  {running.api_server}",
        f"kubeconfig  {running.kubeconfig}",
        f"workspace   {running.workspace}",
        f"process     {running.pid}, since {running.started_at}, version {running.version}",
    ]
    if counts:
        width = max(map(len, counts))
        lines += ["", *(f"{kind:<{width}}  {count}" for kind, count in counts.items())]
    return "\n".join(lines)


async def _counts(kubeconfig: Path) -> dict[str, int]:
    from kubeling.kube.https import HttpsTransport

    client = Client(HttpsTransport(load(kubeconfig)))
    try:
        kinds = [
            found.resource
            for found in await Discovery(client).all()
            if found.preferred
            and "list" in found.verbs
            and (found.resource.group in ("", "argoproj.io") or "kube" in found.resource.group)
            and found.resource.plural not in ("events", "secrets", "configmaps", "serviceaccounts")
        ]
        lists = await asyncio.gather(*(client.list(kind) for kind in kinds))
    finally:
        await client.close()
    return {
        str(kind): len(found.items) for kind, found in zip(kinds, lists, strict=True) if found.items
    }
