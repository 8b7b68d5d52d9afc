"""Experiments: the list, and one with its trials, its best and their parallel coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from kubeling.gateway.drawing.parallel import Line, axes_of, draw_parallel
from kubeling.gateway.kinds import EXPERIMENTS, TRIALS
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["experiment_page", "experiments"]

_EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"


@dataclass(frozen=True, slots=True)
class Row:
    """One trial as the table shows it; ``metric`` is empty until it is observed."""

    trial: Obj
    parameters: dict[str, str]
    metric: str
    best: bool


async def experiments(views: Views, request: web.Request) -> web.Response:
    """All experiments."""
    found = await views.objects(EXPERIMENTS)
    return views.page(
        request, "experiments.html", "/experiments", "Experiments", (EXPERIMENTS,), found=found
    )


async def experiment_page(views: Views, request: web.Request) -> web.Response:
    """One experiment and its trials."""
    experiment = await views.object(EXPERIMENTS, request)
    trials = [
        trial
        for trial in await views.objects(TRIALS)
        if namespace(trial) == namespace(experiment)
        and (trial["metadata"].get("labels") or {}).get(_EXPERIMENT_LABEL) == name(experiment)
    ]
    metric = experiment["spec"].get("objective", {}).get("objectiveMetricName", "")
    rows = trial_rows(experiment, trials, metric)
    return views.page(
        request,
        "experiment.html",
        "/experiments",
        name(experiment),
        (EXPERIMENTS, TRIALS),
        rows=rows,
        metric=metric,
        plot=plot(experiment, rows, metric),
        **await object_values(views, experiment),
    )


def trial_rows(experiment: Obj, trials: list[Obj], metric: str) -> list[Row]:
    """The trials, the best one marked."""
    optimal = (experiment.get("status") or {}).get("currentOptimalTrial") or {}
    strategies = experiment["spec"].get("objective", {}).get("metricStrategies") or ()
    strategy = next((s["value"] for s in strategies if s.get("name") == metric), "latest")
    return [
        Row(
            trial,
            {p["name"]: str(p["value"]) for p in trial["spec"].get("parameterAssignments") or ()},
            _observed(trial, metric, strategy),
            name(trial) == optimal.get("bestTrialName"),
        )
        for trial in trials
    ]


def plot(experiment: Obj, rows: list[Row], metric: str) -> str:
    """Parallel coordinates of the trials that have the metric."""
    names = [parameter["name"] for parameter in experiment["spec"].get("parameters") or ()]
    lines = [
        Line(name(row.trial), {**row.parameters, metric: row.metric}, row.best)
        for row in rows
        if row.metric and row.metric != "unavailable"
    ]
    return draw_parallel(lines, axes_of(lines, [*names, metric]))


def _observed(trial: Obj, metric: str, strategy: str) -> str:
    metrics = ((trial.get("status") or {}).get("observation") or {}).get("metrics") or ()
    for entry in metrics:
        if entry.get("name") == metric:
            return str(entry.get(strategy) or entry.get("latest") or "")
    return ""
