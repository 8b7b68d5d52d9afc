"""The probes of one running container, from its start to its end.

The startup probe comes first and alone; once it holds, the readiness and the liveness probe run
until whoever called cancels them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.engine.probes import ProbeTarget, run_probe
from kubeling.kube.clock import Clock

__all__ = ["PROBES", "HealthNews", "watch_health"]

PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


@dataclass(frozen=True, slots=True)
class HealthNews:
    """Who is told what: ``unhealthy`` and ``failed`` get the kind of probe in lower case.

    ``failed`` also gets the grace that the probe leaves the container, if it says so.
    """

    started: Callable[[], None]
    ready: Callable[[bool], None]
    unhealthy: Callable[[str, str], None]
    failed: Callable[[str, float | None], None]


async def watch_health(
    container: Mapping[str, Any],
    target: ProbeTarget,
    clock: Clock,
    news: HealthNews,
    *,
    started: bool,
) -> None:
    """Probes until cancelled; ``started`` says that the startup probe has passed before."""
    if not started and "startupProbe" in container:
        await _passes(container["startupProbe"], target, clock, news)
    news.started()
    async with asyncio.TaskGroup() as group:
        if probe := container.get("readinessProbe"):
            group.create_task(_readiness(probe, target, clock, news))
        if probe := container.get("livenessProbe"):
            group.create_task(_liveness("liveness", probe, target, clock, news))


async def _passes(
    probe: Mapping[str, Any], target: ProbeTarget, clock: Clock, news: HealthNews
) -> None:
    passed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        probing = group.create_task(_liveness("startup", probe, target, clock, news, passed))
        await passed.wait()
        probing.cancel()


async def _readiness(
    probe: Mapping[str, Any], target: ProbeTarget, clock: Clock, news: HealthNews
) -> None:
    def report(good: bool, wrong: str) -> None:
        if not good:
            news.unhealthy("readiness", wrong)
        news.ready(good)

    await run_probe(probe, target, clock, report)


async def _liveness(
    kind: str,
    probe: Mapping[str, Any],
    target: ProbeTarget,
    clock: Clock,
    news: HealthNews,
    passed: asyncio.Event | None = None,
) -> None:
    grace = probe.get("terminationGracePeriodSeconds")

    def report(good: bool, wrong: str) -> None:
        if not good:
            news.unhealthy(kind, wrong)
            news.failed(kind, None if grace is None else float(grace))
        elif passed is not None:
            passed.set()

    await run_probe(probe, target, clock, report)
