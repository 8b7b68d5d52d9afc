"""What charts and forms need beyond the objects: curves of metrics, and what algorithms take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, controller_of, name, uid
from kubeling.tuning.algorithms.catalogue import ALGORITHMS
from kubeling.tuning.api.explanations import ABOUT_ALGORITHMS, about_setting
from kubeling.tuning.api.readings import TrialReadings, metrics_of
from kubeling.tuning.early_stopping.catalogue import EARLY_STOPPING
from kubeling.tuning.resources import EXPERIMENTS, TRIALS
from kubeling.tuning.trial_status import has_ended

__all__ = ["ExperimentApi"]

_UNDER_WAY: Final = "experiment under way"


class ExperimentApi:
    """``/api/tuning/…``"""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._opened: TrialReadings | None = None

    async def curves(self, request: web.Request) -> web.Response:
        """``{"trials": {NAME: {METRIC: [[TIME, VALUE], …]}}}``

        ``trial`` (several times) and ``latest`` (a number) ask for some trials only, ``metric``
        for some metrics.
        """
        experiment, trials = await self._found(request)
        chosen = _chosen(trials, request)
        metrics = request.query.getall("metric", ()) or metrics_of(experiment)
        readings = await self._readings()
        where = request.match_info["namespace"]
        found = await readings.curves(where, {uid(t): name(t) for t in chosen}, list(metrics))
        return web.json_response({"trials": found})

    async def revision(self, request: web.Request) -> web.Response:
        """``{"revision": …}``: another word when there is more to draw."""
        experiment = await self._experiment(request)
        trials = self._context.informers.of(TRIALS)
        trials.add_index(_UNDER_WAY, _experiment_under_way)
        # Trials that have ended say no more; one that ends is no longer among the others.
        active = [uid(trial) for trial in trials.by_index(_UNDER_WAY, uid(experiment))]
        readings = await self._readings()
        found = await readings.revision(request.match_info["namespace"], sorted(active))
        number = len(trials.keys("controller", uid(experiment)))
        return web.json_response({"revision": f"{number}-{len(active)}-{found}"})

    async def algorithms(self, _: web.Request) -> web.Response:
        """Algorithms of both kinds with what each does and takes."""
        return web.json_response({
            "algorithms": [_described(n, e.settings) for n, e in sorted(ALGORITHMS.items())],
            "earlyStopping": [_described(n, s) for n, s in sorted(EARLY_STOPPING.items())],
        })  # fmt: skip

    async def _found(self, request: web.Request) -> tuple[Obj, list[Obj]]:
        """The experiment and its trials, the oldest first."""
        experiment = await self._experiment(request)
        owned = self._context.informers.of(TRIALS).owned_by(uid(experiment))
        owned.sort(key=lambda t: (str(t["metadata"].get("creationTimestamp")), name(t)))
        return experiment, owned

    async def _experiment(self, request: web.Request) -> Obj:
        where, wanted = request.match_info["namespace"], request.match_info["experiment"]
        informers = self._context.informers
        await informers.synced(EXPERIMENTS, TRIALS)
        experiment = informers.of(EXPERIMENTS).get(where, wanted)
        if experiment is None:
            raise NotFound(f'experiments.kubeflow.org "{wanted}" not found')
        return experiment

    async def _readings(self) -> TrialReadings:
        if self._opened is None:
            await self._context.open_database()
            self._opened = await asyncio.to_thread(TrialReadings, lambda: self._context.database)
        return self._opened


def _experiment_under_way(trial: Obj) -> tuple[str, ...]:
    """The experiment that a trial keeps going."""
    owner = controller_of(trial)
    return (owner["uid"],) if owner and not has_ended(trial) else ()


def _chosen(trials: list[Obj], request: web.Request) -> list[Obj]:
    """The trials that are asked for; all of them if nothing is said."""
    named = set(request.query.getall("trial", ()))
    latest = request.query.get("latest", "")
    if latest and not latest.isdecimal():
        raise web.HTTPBadRequest(text=f'latest: Invalid value: "{latest}": must be a number')
    if not named and not latest:
        return trials
    recent = trials[max(len(trials) - int(latest or 0), 0) :]
    return [*(t for t in trials if name(t) in named and t not in recent), *recent]


def _described(name: str, settings: Mapping[str, Any]) -> Obj:
    return {
        "name": name,
        "about": ABOUT_ALGORITHMS.get(name, ""),
        "settings": [about_setting(key, setting) for key, setting in settings.items()],
    }
