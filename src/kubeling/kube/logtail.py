"""The end of a container's log, for those who say why it failed."""

from __future__ import annotations

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["log_tail"]


async def log_tail(client: Client, pod: Obj, container: str, lines: int) -> list[str]:
    """At most so many last lines; where there is no log, a line that says why."""
    chunks = bytearray()
    try:
        stream = client.logs(name(pod), namespace(pod), container=container, tail_lines=lines)
        async for chunk in stream:
            chunks += chunk
    except ApiError as error:
        return [f"(no log: {error})"]
    return chunks.decode(errors="replace").splitlines()
