"""Leader election by Lease, so that two copies of the controllers never act at once.

The protocol is client-go's: whoever holds an unexpired Lease leads; expiry is judged by the local
clock from the moment a renewal was *seen*, so skewed clocks do no harm; a leader that cannot renew
stops before others may take over.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.errors import AlreadyExists, ApiError, Conflict
from kubeling.kube.objects import Obj, deep_copy, new_object
from kubeling.kube.resources import LEASES

__all__ = ["LeaderElection", "LeaseConfig"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """How a lease is named and how long it lasts, in seconds."""

    name: str
    identity: str
    namespace: str = "kube-system"
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class LeaderElection:
    """Runs something only while this process leads."""

    def __init__(self, client: Client, config: LeaseConfig, clock: Clock | None = None) -> None:
        self._client = client
        self._config = config
        self._clock = clock or SystemClock()
        self._observed: tuple[str, str] = ("", "")
        self._observed_at = 0.0
        self.leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits to lead, runs ``work``, and cancels it when the lease is lost.

        Returns when ``work`` returns; on cancellation the lease is released first.
        """
        while True:
            while not await self._try_acquire():
                await self._clock.sleep(self._config.retry_period)
            self.leading = True
            log.info("leading as %s", self._config.identity)
            task = asyncio.ensure_future(work())
            try:
                if await self._hold(task):
                    return
            finally:
                self.leading = False
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await self._release()

    async def _hold(self, task: asyncio.Future[None]) -> bool:
        """Renews until the work ends (true) or the lease is lost (false)."""
        renewed = self._clock.monotonic()
        while True:
            pause = asyncio.ensure_future(self._clock.sleep(self._config.retry_period))
            try:
                await asyncio.wait({task, pause}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if task.done():
                task.result()
                return True
            if await self._try_acquire():
                renewed = self._clock.monotonic()
            elif self._clock.monotonic() - renewed > self._config.renew_deadline:
                log.warning("lease %s lost", self._config.name)
                return False

    async def _try_acquire(self) -> bool:
        config = self._config
        try:
            lease = await self._client.find(LEASES, config.name, config.namespace)
            if lease is None:
                await self._client.create(LEASES, self._new(), config.namespace)
                return True
            if not self._may_take(lease):
                return False
            await self._client.replace(LEASES, self._taken(lease))
        except (AlreadyExists, Conflict):
            return False
        except (ApiError, ConnectionError) as error:
            log.debug("lease %s: %s", config.name, error)
            return False
        return True

    def _may_take(self, lease: Obj) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        seen = (holder, spec.get("renewTime") or "")
        if seen != self._observed:
            self._observed, self._observed_at = seen, self._clock.monotonic()
        if holder in ("", self._config.identity):
            return True
        duration = float(spec.get("leaseDurationSeconds") or self._config.duration)
        return self._clock.monotonic() - self._observed_at > duration

    def _new(self) -> Obj:
        lease = new_object(LEASES, self._config.name, self._config.namespace)
        lease["spec"] = self._spec(transitions=0)
        return lease

    def _taken(self, lease: Obj) -> Obj:
        fresh: Obj = deep_copy(lease)
        spec = fresh.get("spec") or {}
        mine = spec.get("holderIdentity") == self._config.identity
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        fresh["spec"] = self._spec(transitions)
        if mine and "acquireTime" in spec:
            fresh["spec"]["acquireTime"] = spec["acquireTime"]
        return fresh

    def _spec(self, transitions: int) -> Obj:
        stamp = _micro_time(self._clock.now())
        return {
            "holderIdentity": self._config.identity,
            "leaseDurationSeconds": max(1, round(self._config.duration)),
            "acquireTime": stamp,
            "renewTime": stamp,
            "leaseTransitions": transitions,
        }

    async def _release(self) -> None:
        config = self._config
        try:
            lease = await self._client.find(LEASES, config.name, config.namespace)
            if lease and (lease.get("spec") or {}).get("holderIdentity") == config.identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(LEASES, lease)
        except (ApiError, ConnectionError) as error:
            log.debug("lease %s not released: %s", config.name, error)


def _micro_time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
