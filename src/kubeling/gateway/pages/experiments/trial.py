"""One trial: what it was given, what it measured, what it wrote, and why it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.kinds import EXPERIMENTS, TRIALS
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.experiments.charts import drawn_networks
from kubeling.gateway.pages.experiments.source import (
    EXPERIMENT_LABEL,
    base_of,
    curves_of,
    trial_link,
)
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.trials.architecture import Network, networks_in, networks_of
from kubeling.gateway.trials.model import Study, study_of
from kubeling.gateway.trials.repeat import command_of
from kubeling.kube.logtail import log_tail
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import EVENTS, PODS

__all__ = ["trial_page", "trial_stream"]

_QUIET_SECONDS: Final = 0.5
_LINES: Final = 3000


async def trial_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The page."""
    trial = await views.object(TRIALS, request)
    experiment = await _experiment(views, trial)
    study = study_of(experiment or _alone(trial), [trial])
    shown = study.trials[0] if study.trials else None
    charts: list[tuple[str, str]] = []
    without_curves = False
    if experiment is not None:
        try:
            charts = await _charts(rest, study, name(trial))
        except ConnectionError:
            without_curves = True  # All else is known without the store of readings.
    values = await object_values(views, trial)
    parameters = shown.parameters if shown else {}
    pods = [child for _, child in values["owned"] if child["kind"] == "Pod"]
    return views.page(
        request,
        "trial.html",
        "/experiments",
        name(trial),
        (TRIALS, PODS, EVENTS),
        stream=f"{trial_link(study, name(trial))}/live",
        trial=shown,
        study=study,
        of=base_of(experiment) if experiment else "",
        command=command_of(trial, experiment),
        charts=charts,
        without_curves=without_curves,
        networks=drawn_networks(networks_of(parameters) or await _printed(views, study, pods)),
        pods=pods,
        observed=((trial.get("status") or {}).get("observation") or {}).get("metrics") or [],
        base=trial_link(study, name(trial)),
        **values,
    )


async def trial_stream(views: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """The word that there is more to see of it."""
    where, wanted = request.match_info["namespace"], request.match_info["name"]
    trial = await views.object(TRIALS, request)
    made = f"/api/tuning/{quote(where)}/{quote(_experiment_name(trial))}/revision"

    def concerns(obj: Obj) -> bool:
        # Its pods are named after it.
        return namespace(obj) == where and name(obj).startswith(wanted)

    async def revision() -> str:
        try:
            return str((await rest.get(made)).get("revision"))
        except Refused:
            return "gone"

    return await stream_changes(
        request,
        views.context,
        (TRIALS, PODS),
        concerns=concerns,
        poll=revision,
        quiet=_QUIET_SECONDS,
    )


async def _charts(rest: RestClient, study: Study, trial: str) -> list[tuple[str, str]]:
    """A curve for each metric that was read more than once."""
    found = await asyncio.gather(
        *(curves_of(rest, study, goal.metric, trial) for goal in study.goals)
    )
    charts: list[tuple[str, str]] = []
    for goal, readings in zip(study.goals, found, strict=True):
        points = readings.get(trial) or []
        curve = Curve(goal.metric, [(place, v) for place, (_, v) in enumerate(points, 1)])
        if len(points) > 1:
            charts.append((goal.metric, draw_curves([curve], "reading", goal.metric)))
    return charts


async def _printed(views: Views, study: Study, pods: Sequence[Obj]) -> list[Network]:
    """The cells that a trial of ``darts`` says it found, in the log of its only or first pod."""
    if study.algorithm != "darts" or not pods:
        return []
    container = pods[0]["spec"]["containers"][0]["name"]
    return networks_in(await log_tail(views.context.client, pods[0], container, _LINES))


async def _experiment(views: Views, trial: Obj) -> Obj | None:
    await views.objects(EXPERIMENTS)
    informer = views.context.informers.of(EXPERIMENTS)
    return informer.get(namespace(trial), _experiment_name(trial))


def _experiment_name(trial: Obj) -> str:
    return str((trial["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL) or name(trial))


def _alone(trial: Obj) -> Obj:
    """What stands for the experiment of a trial that has none any more."""
    names = [p["name"] for p in trial["spec"].get("parameterAssignments") or ()]
    return {
        "metadata": {"name": _experiment_name(trial), "namespace": namespace(trial)},
        "spec": {
            "objective": trial["spec"].get("objective") or {},
            "parameters": [{"name": name} for name in names],
        },
    }
