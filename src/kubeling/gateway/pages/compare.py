"""Runs side by side: what they were given, what came out, and how they got there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.drawing.parallel import Line, axes_of, draw_parallel
from kubeling.gateway.drawing.roc import draw_roc, points_of
from kubeling.gateway.inputs import text_of
from kubeling.gateway.kinds import RUNS
from kubeling.gateway.pages.artifacts.lineage import kind_of
from kubeling.gateway.pages.histories import histories_of, values_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["compare"]

_MOST: Final = 10
_SHOWN_ARTIFACTS: Final = "200"


async def compare(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Two to ten runs: a column each."""
    chosen = list(dict.fromkeys(request.query.getall("run", ())))
    if not 2 <= len(chosen) <= _MOST:
        text = f"Choose 2 to {_MOST} runs to compare; {len(chosen)} were chosen."
        raise web.HTTPBadRequest(text=text)
    runs = await asyncio.gather(*(_read(rest, run) for run in chosen))
    parameters = _table([run["parameters"] for run in runs])
    metrics = _table([run["metrics"] for run in runs])
    curves = {
        f"{run['name']}: {name}": points for run in runs for name, points in run["curves"].items()
    }
    return views.page(
        request,
        "compare.html",
        "/pipelines",
        "Compare runs",
        (RUNS,),
        runs=runs,
        parameters=parameters,
        metrics=metrics,
        roc=draw_roc(curves) if curves else "",
        histories=_histories(runs),
        plot=_plot(runs, [name for name, _, _ in parameters], [name for name, _, _ in metrics]),
    )


async def _read(rest: RestClient, run_id: str) -> dict[str, Any]:
    steps = await rest.get(f"/apis/v2beta1/runs/{run_id}/steps")
    listed = await rest.get("/apis/v2beta1/artifacts", run_id=run_id, page_size=_SHOWN_ARTIFACTS)
    run = steps["run"]
    artifacts = sorted(listed.get("artifacts") or (), key=lambda a: str(a.get("created_at") or ""))
    metrics = [a.get("metadata") or {} for a in artifacts if kind_of(a) == "system.Metrics"]
    curves = {
        str(artifact.get("name")): points
        for artifact in artifacts
        if kind_of(artifact) != "system.Metrics"
        and (points := points_of(artifact.get("metadata") or {}))
    }
    given = (run.get("runtime_config") or {}).get("parameters") or {}
    return {
        "id": run_id,
        "run": run,
        "name": str(run.get("display_name") or run_id),
        "parameters": {name: text_of(value) for name, value in given.items()},
        "metrics": values_of(metrics),
        "histories": histories_of(metrics),
        "curves": curves,
    }


def _table(columns: list[dict[str, str]]) -> list[tuple[str, list[str], bool]]:
    """A row for each name: its values by run, and whether they differ."""
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, "") for column in columns]) for name in names]
    return [(name, values, len(set(values)) > 1) for name, values in rows]


def _histories(runs: list[dict[str, Any]]) -> list[tuple[str, Markup]]:
    """A chart for each metric that has a history, with a curve for each run that has it."""
    names = dict.fromkeys(name for run in runs for name in run["histories"])
    return [
        (
            name,
            draw_curves(
                [
                    Curve(run["name"], run["histories"][name], link=f"/pipelines/runs/{run['id']}")
                    for run in runs
                    if name in run["histories"]
                ],
                "step",
                name,
            ),
        )
        for name in names
    ]


def _plot(runs: list[dict[str, Any]], parameters: list[str], metrics: list[str]) -> str:
    """Parallel coordinates of what differs."""
    lines = [Line(run["name"], {**run["parameters"], **run["metrics"]}) for run in runs]
    names = [
        name
        for name in dict.fromkeys([*parameters, *metrics])
        if len({line.values.get(name) for line in lines}) > 1
        and all(line.values.get(name) for line in lines)
    ]
    if len(names) < 2:
        return ""
    return draw_parallel(lines, axes_of(lines, names))
