"""The end of a container's log, for those who say why it failed."""

from __future__ import annotations

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["last_line", "log_tail"]


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


def last_line(text: str) -> str:
    """The last line that says something, which for a Python program is the exception.

    Programs such as ``mpirun`` draw boxes around what they say: a line of dashes says nothing.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = (line for line in reversed(lines) if any(map(str.isalnum, line)))
    return next(telling, lines[-1] if lines else "")
