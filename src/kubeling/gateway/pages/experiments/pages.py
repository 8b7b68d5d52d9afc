"""All experiments, and one: how the search goes, its trials, and some of them compared."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.kinds import EXPERIMENTS, OPTIMIZATION_JOBS, TRAIN_JOBS, TRIALS
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.experiments import charts
from kubeling.gateway.pages.experiments.frame import of_trials, recent, tab_page
from kubeling.gateway.pages.experiments.source import (
    Found,
    curves_of,
    experiment_of,
    is_about,
)
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.trials.architecture import networks_of
from kubeling.gateway.trials.model import Study, Trial, study_of
from kubeling.gateway.trials.searches import SEARCH_LABEL
from kubeling.gateway.trials.table import table_of
from kubeling.kube.objects import Obj

__all__ = [
    "compared_page",
    "csv_of_trials",
    "details_page",
    "experiment_list",
    "experiment_page",
    "experiment_stream",
    "search_stream",
]

_PAGE: Final = 100
_MOST_COMPARED: Final = 10
_QUIET_SECONDS: Final = 1.0


async def experiment_list(views: Views, request: web.Request) -> web.Response:
    """All experiments, and the searches over TrainJobs."""
    found = await views.objects(EXPERIMENTS)
    searches = await views.objects(OPTIMIZATION_JOBS)
    return views.page(
        request,
        "experiments.html",
        "/experiments",
        "Experiments",
        (EXPERIMENTS, OPTIMIZATION_JOBS),
        found=found,
        searches=searches,
        best=_best_value,
    )


def _best_value(experiment: Obj) -> str:
    """The best value of the objective so far."""
    study = study_of(experiment, ())
    observed = (experiment.get("status") or {}).get("currentOptimalTrial") or {}
    for entry in (observed.get("observation") or {}).get("metrics") or ():
        if entry.get("name") == study.goal.metric:
            return str(entry.get(study.goal.strategy) or entry.get("latest") or "")
    return ""


async def experiment_page(views: Views, request: web.Request) -> web.Response:
    """How the search goes: the best, the objective by trial, and the trials."""
    found = await experiment_of(views, request)
    study = found.study
    page = request.query.get("page", "0")
    sort = request.query.get("sort", "")
    rows = _sorted(study, sort)
    start = int(page) * _PAGE if page.isdecimal() else 0
    best = study.best
    return tab_page(
        views,
        request,
        found,
        "",
        history=charts.history(study),
        plot=charts.parallel(recent(study)),
        rows=rows[start : start + _PAGE],
        start=start,
        sort=sort,
        command=found.command(best) if best else "",
        networks=charts.drawn_networks(networks_of(best.parameters)) if best else [],
        causes=await _causes(views, found),
    )


async def _causes(views: Views, found: Found) -> list[Any]:
    """Why it failed or found nothing so far, or why trials do; where all is well, nothing."""
    study = found.study
    bad = study.counts.keys() & {"failed", "unavailable", "pending"} and not study.final
    if study.best is not None and study.state != "failed" and not bad:
        return []
    causes: list[Any] = (await object_values(views, found.experiment))["causes"]
    return causes


async def compared_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Chosen trials side by side, with their curves."""
    found = await experiment_of(views, request)
    study = found.study
    wanted = list(dict.fromkeys(request.query.getall("trial", ())))
    trials = [trial for trial in study.trials if trial.name in wanted]
    if not 2 <= len(trials) <= _MOST_COMPARED:
        text = f"Choose 2 to {_MOST_COMPARED} trials to compare; {len(trials)} were chosen."
        raise web.HTTPBadRequest(text=text)
    chosen = of_trials(study, trials)
    goals = study.goals if found.is_katib else ()  # TrainJobs report their latest value only.
    readings = await asyncio.gather(
        *(curves_of(rest, study, goal.metric, *wanted) for goal in goals)
    )
    drawn = [
        (goal.metric, charts.curves(chosen, goal.metric, found_curves, log=False))
        for goal, found_curves in zip(goals, readings, strict=True)
    ]
    commands = {t.name: found.command(t) for t in trials}
    return tab_page(
        views,
        request,
        found,
        "compared",
        trials=trials,
        commands=commands,
        drawn=[(metric, drawing) for metric, drawing in drawn if drawing],
        plot=charts.parallel(chosen),
        networks=[
            (trial.name, drawing)
            for trial in trials
            for _, drawing in charts.drawn_networks(networks_of(trial.parameters))
        ],
    )


async def details_page(views: Views, request: web.Request) -> web.Response:
    """Conditions, events and YAML."""
    found = await experiment_of(views, request)
    values = await object_values(views, found.experiment)
    shown = {key: values[key] for key in ("causes", "events", "yaml")}
    return tab_page(views, request, found, "details", **shown)


async def csv_of_trials(views: Views, request: web.Request) -> web.Response:
    """All trials as a table for other programs."""
    study = (await experiment_of(views, request)).study
    headers = {"Content-Disposition": f'attachment; filename="{study.name}.csv"'}
    return web.Response(text=table_of(study), content_type="text/csv", headers=headers)


async def experiment_stream(
    views: Views, rest: RestClient, request: web.Request
) -> web.StreamResponse:
    """The word that there is more to see: of the experiment, its trials, or of their readings."""
    where, wanted = request.match_info["namespace"], request.match_info["name"]
    path = f"/api/tuning/{quote(where)}/{quote(wanted)}/revision"

    async def revision() -> str:
        try:
            return str((await rest.get(path)).get("revision"))
        except Refused:
            return "gone"

    return await stream_changes(
        request,
        views.context,
        (EXPERIMENTS, TRIALS),
        concerns=is_about(where, wanted),
        poll=revision,
        quiet=_QUIET_SECONDS,
    )


async def search_stream(views: Views, request: web.Request) -> web.StreamResponse:
    """The word that there is more to see of a search over TrainJobs."""
    where, wanted = request.match_info["namespace"], request.match_info["name"]
    return await stream_changes(
        request,
        views.context,
        (OPTIMIZATION_JOBS, TRAIN_JOBS),
        concerns=is_about(where, wanted, SEARCH_LABEL),
        quiet=_QUIET_SECONDS,
    )


def _sorted(study: Study, by: str) -> list[Trial]:
    """Trials by a metric, a parameter or their state; the latest first otherwise."""
    latest = list(reversed(study.trials))
    goal = next((goal for goal in study.goals if goal.metric == by), None)
    if goal is not None:
        sign = 1 if goal.direction == "minimize" else -1
        return sorted(latest, key=lambda t: (by not in t.metrics, sign * t.metrics.get(by, 0.0)))
    if by in study.names:
        scale = study.scale(by)
        return sorted(latest, key=lambda t: scale.place(t.parameters.get(by, "")) or 0.0)
    if by == "state":
        return sorted(latest, key=lambda t: t.state)
    return latest
