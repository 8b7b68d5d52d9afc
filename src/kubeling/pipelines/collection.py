"""The controller that collects runs again and again, if there are policies."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Key
from kubeling.kube.resources import NAMESPACES
from kubeling.pipelines.settings import PipelineSettings, pipeline_settings

__all__ = ["collection_controllers"]

log = logging.getLogger(__name__)

_ONCE: Final = "default"
"""The namespace whose reconciliation stands for a pass over all of them."""


def collection_controllers(context: Context) -> list[Controller]:
    """The controller of retention policies; none where there are no policies."""
    given = context.settings.rooms.get("pipelines", {})
    settings = pipeline_settings(given, os.environ)
    if not settings.policies and not settings.delete_pods_after:
        return []
    passes = _Passes(context, settings)
    return [Controller("run-collection", NAMESPACES, passes.reconcile, workers=1)]


class _Passes:
    def __init__(self, context: Context, settings: PipelineSettings) -> None:
        self._context = context
        self._settings = settings
        self._interval = parse_duration(settings.collection_interval)
        self._next = float("-inf")

    async def reconcile(self, key: Key) -> Result | None:
        """A pass, unless the last one was a short while ago."""
        if key.name != _ONCE:
            return None
        clock = self._context.clock
        if (wait := self._next - clock.monotonic()) > 0:
            return Result(wait)
        database = await self._context.open_database()
        from kubeling.pipelines.collector import Collector

        settings = self._settings
        collector = await asyncio.to_thread(
            Collector,
            self._context,
            database,
            settings,
            files=settings.collect_artifacts,
        )
        found = await collector.collect(settings.policies)
        if found.archived or found.deleted:
            log.info(
                "collected runs: %d archived, %d deleted", len(found.archived), len(found.deleted)
            )
        self._next = clock.monotonic() + self._interval
        return Result(self._interval)
