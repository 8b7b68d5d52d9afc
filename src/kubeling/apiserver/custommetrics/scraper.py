"""Asks pods what they expose, when somebody wants to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import aiohttp

from kubeling.apiserver.custommetrics.exposition import parse_exposition
from kubeling.apiserver.custommetrics.samples import Samples
from kubeling.kube import objects
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj, key_of, uid

__all__ = ["Scraper", "endpoint"]

log = logging.getLogger(__name__)

_ANNOTATION: Final = "prometheus.io/"
_FRESH_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 300.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_LARGEST: Final = 16 << 20
_HEADERS: Final = {"Accept": "text/plain;version=0.0.4;q=0.9,*/*;q=0.1"}


def endpoint(pod: Obj) -> str | None:
    """Where a running pod exposes metrics, if it says that it does."""
    said = objects.annotations(pod)
    status = pod.get("status") or {}
    address = status.get("podIP")
    if said.get(f"{_ANNOTATION}scrape") != "true" or not address:
        return None
    if status.get("phase") != "Running":
        return None
    port = said.get(f"{_ANNOTATION}port") or _declared(pod)
    if not port:
        return None
    path = said.get(f"{_ANNOTATION}path") or "/metrics"
    scheme = said.get(f"{_ANNOTATION}scheme") or "http"
    return f"{scheme}://{address}:{port}/{path.lstrip('/')}"


class Scraper:
    """Keeps a few samples of the pods that were asked for lately; close it in the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: dict[str, Samples] = {}
        self._session: aiohttp.ClientSession | None = None

    async def samples(self, pods: Iterable[Obj]) -> dict[str, Samples]:
        """What the pods expose now, by uid; those that cannot be read are not there."""
        now = self._clock.monotonic()
        self._forget(now)
        wanted = [(pod, url) for pod in pods if (url := endpoint(pod)) is not None]
        stale = [
            (pod, url) for pod, url in wanted if now - self._newest(uid(pod)) >= _FRESH_SECONDS
        ]
        await asyncio.gather(*(self._scrape(pod, url) for pod, url in stale))
        return {
            uid(pod): samples
            for pod, _ in wanted
            if (samples := self._samples.get(uid(pod))) is not None
            and self._clock.monotonic() - samples.newest < 2 * _FRESH_SECONDS
        }

    def names(self) -> set[str]:
        """The custom metrics of the pods that were asked for lately."""
        return {name for samples in self._samples.values() for name in samples.names()}

    async def close(self) -> None:
        """Closes what is open to the pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _scrape(self, pod: Obj, url: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=_HEADERS)
        try:
            async with self._session.get(url, ssl=False) as response:
                response.raise_for_status()
                body = await response.content.read(_LARGEST)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.debug("metrics of pod %s: %s", key_of(pod), error)
            return
        series = parse_exposition(body.decode(errors="replace"))
        self._samples.setdefault(uid(pod), Samples()).add(self._clock.monotonic(), series)

    def _newest(self, pod_uid: str) -> float:
        samples = self._samples.get(pod_uid)
        return samples.newest if samples is not None else float("-inf")

    def _forget(self, now: float) -> None:
        for pod_uid in [
            key for key, found in self._samples.items() if now - found.newest > _KEPT_SECONDS
        ]:
            del self._samples[pod_uid]


def _declared(pod: Obj) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return str(port["containerPort"])
    return ""
