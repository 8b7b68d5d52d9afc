"""Startup, readiness and liveness probes: one check, and the counting of its results."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.clock import Clock

__all__ = ["ProbeTarget", "check", "run_probe"]

_MAX_HEAD: Final = 4096


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where a container is reached and how commands run in it."""

    address: str
    ports: Mapping[str, int]
    execute: Callable[[list[str]], Awaitable[int]]

    def port(self, value: int | str) -> int:
        """A port by number or by its name in the container."""
        if isinstance(value, int):
            return value
        return self.ports[value] if value in self.ports else int(value)


async def check(probe: Mapping[str, Any], target: ProbeTarget) -> str:
    """Checks once; returns what is wrong, empty if nothing."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(timeout):
            if action := probe.get("exec"):
                code = await target.execute(list(action.get("command") or ()))
                return f"command exited with code {code}" if code else ""
            if action := probe.get("httpGet"):
                return await _http(action, target)
            if action := probe.get("tcpSocket"):
                return await _tcp(action, target)
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return "probes of this kind are not available on this node; use exec, httpGet or tcpSocket"


async def run_probe(
    probe: Mapping[str, Any],
    target: ProbeTarget,
    clock: Clock,
    report: Callable[[bool, str], Awaitable[None]],
) -> None:
    """Probes until cancelled; reports whenever the threshold in one direction is reached.

    ``report`` gets whether the probe holds and, if not, what was wrong with the last check.
    """
    await clock.sleep(float(probe.get("initialDelaySeconds") or 0))
    period = float(probe.get("periodSeconds") or 10)
    wanted = {
        True: int(probe.get("successThreshold") or 1),
        False: int(probe.get("failureThreshold") or 3),
    }
    last, count = True, 0
    while True:
        wrong = await check(probe, target)
        good = not wrong
        count = count + 1 if good is last else 1
        last = good
        if count >= wanted[good]:
            await report(good, wrong)
        await clock.sleep(period)


async def _tcp(action: Mapping[str, Any], target: ProbeTarget) -> str:
    host = action.get("host") or target.address
    _, writer = await asyncio.open_connection(host, target.port(action["port"]))
    writer.close()
    return ""


async def _http(action: Mapping[str, Any], target: ProbeTarget) -> str:
    host = action.get("host") or target.address
    port = target.port(action["port"])
    context = None
    if str(action.get("scheme", "")).upper() == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_MAX_HEAD)
    try:
        writer.write(_request(action, host, port))
        line = await reader.readline()
    finally:
        writer.close()
    words = line.split()
    if len(words) < 2 or not words[1].isdigit():
        return f"not an HTTP answer: {line[:80]!r}"
    code = int(words[1])
    return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


def _request(action: Mapping[str, Any], host: str, port: int) -> bytes:
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*"}
    headers.update({h["name"]: h["value"] for h in action.get("httpHeaders") or ()})
    headers["Connection"] = "close"
    lines = [f"GET {action.get('path') or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
