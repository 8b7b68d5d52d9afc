"""Scraping a trial's Prometheus endpoint, which upstream declares and ships no collector for.

A value that has not changed since it was last scraped is not a new reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import re
from collections.abc import AsyncIterator, Collection, Iterator
from typing import TYPE_CHECKING, Final

from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj, name
from kubeling.tuning.metrics import Reading, number

if TYPE_CHECKING:
    from aiohttp import StreamReader

__all__ = ["samples", "scrape"]

log = logging.getLogger(__name__)

_SAMPLE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)(?:\s+(-?\d+))?$")
_EVERY: Final = 0.5
_TIMEOUT: Final = 5.0
_MOST: Final = 1 << 20


async def scrape(
    trial: Obj, pod: Obj, wanted: Collection[str], clock: Clock, over: asyncio.Event
) -> AsyncIterator[list[Reading]]:
    """What changed, twice a second, until it is over; what was asked for then is waited for."""
    import aiohttp

    http_get = (trial["spec"]["metricsCollector"].get("source") or {}).get("httpGet") or {}
    address = http_get.get("host") or (pod.get("status") or {}).get("podIP")
    scheme = str(http_get.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{address}:{http_get.get('port')}{http_get.get('path')}"
    headers = {h["name"]: h["value"] for h in http_get.get("httpHeaders") or ()}
    before: dict[str, str] = {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        while not over.is_set():
            try:
                # As a probe does: a certificate of a pod is nobody's to check.
                async with session.get(url, ssl=False) as response:
                    body = await _text(response.content)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.debug("metrics of %s at %s: %s", name(trial), url, error)
                body = ""
            found = {r.name: r for r in samples(body, wanted, clock.now())}
            fresh = [r for r in found.values() if before.get(r.name) != r.value]
            if fresh:
                before |= {r.name: r.value for r in fresh}
                yield fresh
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await over.wait()


def samples(text: str, wanted: Collection[str], now: dt.datetime) -> Iterator[Reading]:
    """The wanted samples; a metric is named alone or with its labels, as it is exposed."""
    for line in text.splitlines():
        match = _SAMPLE.match(line.strip())
        if match is None or number(match[3]) is None:
            continue
        labelled = match[1] + (match[2] or "")
        for title in (labelled, match[1]):
            if title in wanted:
                yield Reading(title, match[3], now)
                break


async def _text(content: StreamReader) -> str:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MOST:
            break
    return body.decode(errors="replace")
