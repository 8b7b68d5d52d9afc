"""What an experiment's trials measure while they run, and what they say together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from kubeling.gateway.drawing.bars import draw_bars
from kubeling.gateway.pages.experiments import charts
from kubeling.gateway.pages.experiments.frame import goal_of, recent, tab_page
from kubeling.gateway.pages.experiments.source import curves_of, experiment_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.gateway.trials.importance import LEAST, importance_of

__all__ = ["curves_page", "importance_part", "insight_page"]

_MOST: Final = 200
"""Trials whose curves are drawn."""


async def curves_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """What the trials measure while they run."""
    found = await experiment_of(views, request)
    study = found.study
    goal = goal_of(study, request.query.get("metric", ""))
    log = bool(request.query.get("log"))
    drawn = recent(study, _MOST)
    named = [study.best_name] if study.best_name else []
    readings = await curves_of(rest, study, goal.metric, *named, latest=_MOST)
    return tab_page(
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
    goal = goal_of(study, request.query.get("metric", ""))
    across, up = _two(study.names, request.query.get("x", ""), request.query.get("y", ""))
    other = next((g for g in study.goals if g != study.goal), None)
    wanted = goal_of(study, request.query.get("against", "")) if other else None
    against = other if wanted == study.goal else wanted
    front = charts.pareto(study, study.goal, against) if against else None
    # The surface takes a while with many trials; the API is served by the same loop.
    contour = await asyncio.to_thread(charts.contour, study, goal, across, up) if up else ""
    return tab_page(
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
    goal = goal_of(found.study, request.query.get("metric", ""))
    shares = await asyncio.to_thread(importance_of, found.study, goal)
    label = f"importance of parameters for {goal.metric}"
    text = views.templates.get_template("importance.html").render(
        bars=draw_bars(shares, label), least=LEAST, measured=len(found.study.measured)
    )
    return web.Response(text=text, content_type="text/html")


def _two(names: Sequence[str], x: str, y: str) -> tuple[str, str]:
    """Two different parameters; the second is empty if there is only one."""
    across = x if x in names else (names[0] if names else "")
    others = [name for name in names if name != across]
    return across, y if y in others else (others[0] if others else "")
