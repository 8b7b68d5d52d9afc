"""Startup, readiness and liveness probes: one check, and the counting of its results."""

from __future__ import annotations

import asyncio
import os
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
    execute: Callable[[list[str]], Awaitable[tuple[int, str]]]
    """Returns the exit code and what the command said."""

    def port(self, value: int | str) -> int:
        """A port by number or by its name in the container."""
        if isinstance(value, int):
            return value
        if value in self.ports:
            return self.ports[value]
        if value.isdigit():
            return int(value)
        raise ValueError(f'couldn\'t find port "{value}": the container has no port of that name')


async def check(probe: Mapping[str, Any], target: ProbeTarget) -> str:
    """Checks once; returns what is wrong in the kubelet's words, empty if nothing."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    if action := probe.get("grpc"):
        from kubeling.engine.grpchealth import check_health

        port = target.port(action["port"])
        return await check_health(target.address, port, action.get("service") or "", timeout)
    try:
        async with asyncio.timeout(timeout):
            if action := probe.get("exec"):
                return await _exec(action, target)
            if action := probe.get("httpGet"):
                return await _http(action, target)
            return await _tcp(probe.get("tcpSocket") or {}, target)
    except TimeoutError:
        return _late(probe, target, timeout)
    except OSError as error:
        return _unreachable(probe, target, error)
    except ValueError as error:
        return str(error)


async def _exec(action: Mapping[str, Any], target: ProbeTarget) -> str:
    code, output = await target.execute(list(action.get("command") or ()))
    return output.strip() or f"command exited with code {code}" if code else ""


def _unreachable(probe: Mapping[str, Any], target: ProbeTarget, error: OSError) -> str:
    if "exec" in probe:
        return _words(error)
    text = f"dial tcp {_address(probe, target)}: connect: {_words(error)}"
    return f'Get "{_url(probe, target)}": {text}' if "httpGet" in probe else text


def _late(probe: Mapping[str, Any], target: ProbeTarget, timeout: float) -> str:
    if action := probe.get("exec"):
        command = " ".join(action.get("command") or ())
        return f'command timed out: "{command}" timed out after {timeout:g}s'
    if "httpGet" in probe:
        late = "context deadline exceeded (Client.Timeout exceeded)"
        return f'Get "{_url(probe, target)}": {late}'
    return f"dial tcp {_address(probe, target)}: i/o timeout"


def _url(probe: Mapping[str, Any], target: ProbeTarget) -> str:
    action = probe["httpGet"]
    scheme = str(action.get("scheme") or "HTTP").lower()
    return f"{scheme}://{_address(probe, target)}{action.get('path') or '/'}"


def _address(probe: Mapping[str, Any], target: ProbeTarget) -> str:
    action = probe.get("httpGet") or probe.get("tcpSocket") or {}
    return f"{action.get('host') or target.address}:{target.port(action.get('port', 0))}"


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def run_probe(
    probe: Mapping[str, Any],
    target: ProbeTarget,
    clock: Clock,
    report: Callable[[bool, str], None],
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
            report(good, wrong)
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
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    headers.update({h["name"]: h["value"] for h in action.get("httpHeaders") or ()})
    headers["Connection"] = "close"
    lines = [f"GET {action.get('path') or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
