"""Asks a starting pod itself whether it is ready, many times a second.

While nothing listens, that is found out by connecting: to be refused costs a tenth of a
millisecond, so nobody waits for long for a pod that starts in a few hundredths of a second.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import aiohttp

from kubeling.kube.objects import Obj
from kubeling.serving.mounts import entry_container
from kubeling.serving.workloads import serving_port

__all__ = ["until_ready"]

_PAUSE_SECONDS: Final = 0.004
_GROWTH: Final = 1.01
_LONGEST_PAUSE_SECONDS: Final = 1.0
"""A pod that takes a minute, or never answers, need not be asked many times a second."""
_TIMEOUT_SECONDS: Final = 1.0


async def until_ready(pod: Obj, address: str) -> None:
    """Returns once the pod's port can be connected to and its server's readiness probe succeeds, as
    far as it is one over HTTP.

    The port may be that of an agent, which starts beside the server and may be the later one.
    """
    ports, url = _target(pod, address)
    pause = _PAUSE_SECONDS
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not (await _listen(address, ports) and await _answers(session, url)):
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)


def _target(pod: Obj, address: str) -> tuple[set[int], str]:
    """The ports to connect to, and what to ask for."""
    main = entry_container(pod["spec"])
    http = (main.get("readinessProbe") or {}).get("httpGet") or {}
    named = {one.get("name"): int(one["containerPort"]) for one in main.get("ports") or ()}
    port = http.get("port")
    if not isinstance(port, int):
        port = named.get(port)
    if not http or port is None:
        return {serving_port(pod)}, ""
    host = f"[{address}]" if ":" in address else address
    scheme = str(http.get("scheme") or "http").lower()
    return {port, serving_port(pod)}, f"{scheme}://{host}:{port}{http.get('path') or '/'}"


async def _listen(address: str, ports: set[int]) -> bool:
    return all([await _listens(address, port) for port in ports])


async def _listens(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as way:
        way.setblocking(False)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await asyncio.get_running_loop().sock_connect(way, (address, port))
        except (OSError, TimeoutError):
            return False
    return True


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    if not url:
        return True
    try:
        async with session.get(url, ssl=False) as answer:
            return answer.status < 400
    except (aiohttp.ClientError, TimeoutError):
        return False
