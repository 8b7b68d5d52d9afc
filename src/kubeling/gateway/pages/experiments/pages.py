"""One experiment: its trials, live curves, what they say together, and some of them compared."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.drawing.bars import draw_bars
from kubeling.gateway.kinds import EXPERIMENTS, TRIALS
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.experiments import charts
from kubeling.gateway.pages.experiments.source import (
    Found,
    curves_of,
    experiment_of,
    is_about,
    trial_link,
)
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.trials.importance import LEAST, importance_of
from kubeling.gateway.trials.model import Goal, Study, Trial, study_of
from kubeling.gateway.trials.repeat import command_of
from kubeling.kube.objects import Obj

__all__ = [
    "compared_page",
    "csv_of_trials",
    "curves_page",
    "details_page",
    "experiment_list",
    "experiment_page",
    "experiment_stream",
    "importance_part",
    "insight_page",
]

_PAGE: Final = 100
_MOST_COMPARED: Final = 10
_DRAWN: Final = 1000
"""Trials in a chart of lines; of more the latest are drawn."""
_QUIET_SECONDS: Final = 1.0


async def experiment_list(views: Views, request: web.Request) -> web.Response:
    """All experiments."""
    found = await views.objects(EXPERIMENTS)
    return views.page(
        request,
        "experiments.html",
        "/experiments",
        "Experiments",
        (EXPERIMENTS,),
        found=found,
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
    return _page(
        views,
        request,
        found,
        "",
        history=charts.history(study),
        plot=charts.parallel(_recent(study)),
        rows=rows[start : start + _PAGE],
        start=start,
        sort=sort,
        command=command_of(found.object(best), found.experiment) if best else "",
        causes=await _causes(views, found),
    )


async def _causes(views: Views, found: Found) -> list[Any]:
    """Why it failed, or why trials of it do; nothing is looked for where all is well."""
    bad = found.study.counts.keys() & {"failed", "unavailable", "pending"}
    if found.study.state == "succeeded" or (not bad and found.study.state != "failed"):
        return []
    causes: list[Any] = (await object_values(views, found.experiment))["causes"]
    return causes


async def curves_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """What the trials measure while they run."""
    found = await experiment_of(views, request)
    study = found.study
    goal = _goal(study, request.query.get("metric", ""))
    log = bool(request.query.get("log"))
    drawn = _recent(study, 200)
    names = [trial.name for trial in drawn.trials]
    # All of them are asked for without their names, which many an address would not hold.
    readings = await curves_of(
        rest, study, goal.metric, *(names if len(names) < len(study.trials) else ())
    )
    return _page(
        views,
        request,
        found,
        "curves",
        metric=goal.metric,
        log=log,
        drawn=charts.curves(drawn, goal.metric, readings, log=log),
        left_out=len(study.trials) - len(drawn.trials),
    )


async def insight_page(views: Views, request: web.Request) -> web.Response:
    """What the trials say together: importance, contour, slices, and what objectives trade."""
    found = await experiment_of(views, request)
    study = found.study
    goal = _goal(study, request.query.get("metric", ""))
    across, up = _two(study.names, request.query.get("x", ""), request.query.get("y", ""))
    other = next((g for g in study.goals if g != study.goal), None)
    wanted = _goal(study, request.query.get("against", "")) if other else None
    against = other if wanted == study.goal else wanted
    front = charts.pareto(study, study.goal, against) if against else None
    # The surface takes a while with many trials; the API is served by the same loop.
    contour = await asyncio.to_thread(charts.contour, study, goal, across, up) if up else ""
    return _page(
        views,
        request,
        found,
        "insight",
        live=False,
        metric=goal.metric,
        across=across,
        up=up,
        contour=contour,
        slices=charts.slices(study, goal),
        against=against,
        front=front,
        least=LEAST,
    )


async def importance_part(views: Views, request: web.Request) -> web.Response:
    """The parameters' importance alone: what it takes is loaded when it is asked for."""
    found = await experiment_of(views, request)
    goal = _goal(found.study, request.query.get("metric", ""))
    shares = await asyncio.to_thread(importance_of, found.study, goal)
    label = f"importance of parameters for {goal.metric}"
    text = views.templates.get_template("importance.html").render(
        bars=draw_bars(shares, label), least=LEAST, measured=len(found.study.measured)
    )
    return web.Response(text=text, content_type="text/html")


async def compared_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Chosen trials side by side, with their curves."""
    found = await experiment_of(views, request)
    study = found.study
    wanted = list(dict.fromkeys(request.query.getall("trial", ())))
    trials = [trial for trial in study.trials if trial.name in wanted]
    if not 2 <= len(trials) <= _MOST_COMPARED:
        text = f"Choose 2 to {_MOST_COMPARED} trials to compare; {len(trials)} were chosen."
        raise web.HTTPBadRequest(text=text)
    chosen = _of(study, trials)
    readings = await asyncio.gather(
        *(curves_of(rest, study, goal.metric, *wanted) for goal in study.goals)
    )
    drawn = [
        (goal.metric, charts.curves(chosen, goal.metric, found_curves, log=False))
        for goal, found_curves in zip(study.goals, readings, strict=True)
    ]
    commands = {t.name: command_of(found.object(t), found.experiment) for t in trials}
    return _page(
        views,
        request,
        found,
        "compared",
        trials=trials,
        commands=commands,
        drawn=[(metric, drawing) for metric, drawing in drawn if drawing],
        plot=charts.parallel(chosen),
    )


async def details_page(views: Views, request: web.Request) -> web.Response:
    """Conditions, events and YAML."""
    found = await experiment_of(views, request)
    values = await object_values(views, found.experiment)
    shown = {key: values[key] for key in ("causes", "events", "yaml")}
    return _page(views, request, found, "details", **shown)


async def csv_of_trials(views: Views, request: web.Request) -> web.Response:
    """All trials as a table for other programs."""
    found = await experiment_of(views, request)
    study = found.study
    metrics = [goal.metric for goal in study.goals]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["number", "trial", "state", "seconds", *metrics, *study.names, "message"])
    for trial in study.trials:
        took = (
            f"{trial.finished - trial.started:g}"
            if trial.started is not None and trial.finished is not None
            else ""
        )
        row = [str(trial.number), trial.name, trial.state, took]
        row += [str(trial.metrics.get(metric, "")) for metric in metrics]
        row += [_harmless(trial.parameters.get(parameter, "")) for parameter in study.names]
        writer.writerow([*row, _harmless(trial.message)])
    headers = {"Content-Disposition": f'attachment; filename="{study.name}.csv"'}
    return web.Response(text=text.getvalue(), content_type="text/csv", headers=headers)


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula; numbers stay numbers."""
    if text[:1] in "=+-@\t\r" and text[1:2] not in ".0123456789":
        return f"'{text}" if text else ""
    return text


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


def _page(
    views: Views,
    request: web.Request,
    found: Found,
    tab: str,
    *,
    live: bool = True,
    **values: Any,
) -> web.Response:
    study, experiment = found.study, found.experiment
    return views.page(
        request,
        f"experiment{'_' + tab if tab else ''}.html",
        "/experiments",
        study.name,
        (EXPERIMENTS, TRIALS) if live else (),
        stream=f"{found.base}/live" if live and not study.final else "",
        obj=experiment,
        study=study,
        base=found.base,
        tab=tab,
        trial_link=lambda trial: trial_link(study, trial),
        may_grow=not study.final or _may_restart(found),
        **values,
    )


def _may_restart(found: Found) -> bool:
    """Whether an experiment that has ended may be given more trials."""
    reasons = [
        c.get("reason")
        for c in (found.experiment.get("status") or {}).get("conditions") or ()
        if c.get("type") == "Succeeded" and c.get("status") == "True"
    ]
    policy = found.experiment["spec"].get("resumePolicy")
    return reasons == ["ExperimentMaxTrialsReached"] and policy in ("LongRunning", "FromVolume")


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


def _goal(study: Study, metric: str) -> Goal:
    return next((goal for goal in study.goals if goal.metric == metric), study.goal)


def _two(names: Sequence[str], x: str, y: str) -> tuple[str, str]:
    """Two different parameters; the second is empty if there is only one."""
    across = x if x in names else (names[0] if names else "")
    others = [name for name in names if name != across]
    return across, y if y in others else (others[0] if others else "")


def _recent(study: Study, most: int = _DRAWN) -> Study:
    """The study with its latest trials and its best only."""
    if len(study.trials) <= most:
        return study
    kept = study.trials[-most:]
    best = [study.best] if study.best and study.best not in kept else []
    return _of(study, [*best, *kept])


def _of(study: Study, trials: Sequence[Trial]) -> Study:
    return replace(study, trials=trials)
