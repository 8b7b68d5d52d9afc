"""Experiments that are tracked in the model registry: their runs, and how metrics went in them."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.drawing.plane import number
from kubeling.gateway.inputs import text_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = ["API", "tracked_experiment"]

API: Final = "/api/model_registry/v1alpha3"
_MOST: Final = 10
_LISTED: Final = "200"


async def tracked_experiment(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The runs of an experiment; of the chosen ones (else the latest) the curves of all metrics."""
    key = quote(request.match_info["experiment"], safe="")
    experiment = await rest.get(f"{API}/experiments/{key}")
    listed = await rest.get(f"{API}/experiments/{key}/experiment_runs", pageSize=_LISTED)
    found = sorted(listed.get("items") or (), key=lambda run: -int(run["id"]))
    chosen = set(request.query.getall("run", ())) & {str(run["id"]) for run in found}
    runs = [run for run in found if not chosen or str(run["id"]) in chosen][:_MOST]
    read = await asyncio.gather(*(_read(rest, run) for run in runs))
    return views.page(
        request,
        "tracked_experiment.html",
        "/registry",
        str(experiment.get("name") or key),
        experiment=experiment,
        found=found,
        shown=read,
        chosen=chosen,
        parameters=list(dict.fromkeys(n for run in read for n in run["parameters"])),
        metrics=list(dict.fromkeys(n for run in read for n in run["metrics"])),
        charts=_charts(read),
    )


async def _read(rest: RestClient, run: dict[str, Any]) -> dict[str, Any]:
    path = f"{API}/experiment_runs/{run['id']}"
    logged, history = await asyncio.gather(
        rest.get(f"{path}/artifacts", pageSize=_LISTED), rest.get(f"{path}/metric_history")
    )
    kinds: dict[str, dict[str, str]] = {"parameter": {}, "metric": {}}
    for artifact in logged.get("items") or ():
        kind = kinds.get(str(artifact.get("artifactType")))
        if kind is not None:
            kind[str(artifact.get("name"))] = text_of(artifact.get("value"))
    points: dict[str, list[tuple[float, float]]] = {}
    for entry in history.get("items") or ():
        value = number(entry.get("value"))
        if value is not None:
            so_far = points.setdefault(str(entry.get("name")), [])
            step = number(entry.get("step"))
            so_far.append((float(len(so_far)) if step is None else step, value))
    return {
        "id": str(run["id"]),
        "name": str(run.get("name") or f"run {run['id']}"),
        "parameters": kinds["parameter"],
        "metrics": kinds["metric"],
        "points": {name: sorted(found) for name, found in points.items()},
    }


def _charts(runs: list[dict[str, Any]]) -> list[tuple[str, Markup]]:
    """A chart for each metric that was logged more than once in some run."""
    names = dict.fromkeys(name for run in runs for name, p in run["points"].items() if len(p) > 1)
    return [
        (
            name,
            draw_curves(
                [Curve(run["name"], run["points"][name]) for run in runs if name in run["points"]],
                "step",
                name,
            ),
        )
        for name in names
    ]
