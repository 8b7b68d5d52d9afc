"""What trials under way have measured so far, which their objects do not say before their end."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final, Self
from urllib.parse import quote

import aiohttp

from kubeling.gateway.trials.model import Study, Trial

__all__ = ["Readings"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_MOST: Final = 100
"""Trials that an address has room for."""


class Readings:
    """Asks the platform's store of readings."""

    def __init__(self, dashboard: str) -> None:
        self._dashboard = dashboard
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def of(self, study: Study) -> Study:
        """The study with the objective of its running trials, as far as they are."""
        running = [trial.name for trial in study.trials if trial.state == "running"][-_MOST:]
        if not running or self._session is None:
            return study
        path = f"/api/tuning/{quote(study.namespace)}/{quote(study.name)}/curves"
        query = [("metric", study.goal.metric), *(("trial", name) for name in running)]
        found = {}
        # What is shown besides is not worth an error.
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._session.get(self._dashboard + path, params=query) as answer:
                if answer.status == 200:
                    found = (await answer.json())["trials"]

        def seen(trial: Trial) -> Trial:
            points = (found.get(trial.name) or {}).get(study.goal.metric) or ()
            values = [float(value) for _, value in points]
            latest = study.goal.strategy == "latest"
            value = study.goal.best(values[-1:] if latest else values)
            if value is None or trial.state != "running":
                return trial
            return replace(trial, metrics={**trial.metrics, study.goal.metric: value})

        return replace(study, trials=[seen(trial) for trial in study.trials])
