"""Pipelines that were uploaded, with their versions, and workflows' templates."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.kinds import CLUSTER_WORKFLOW_TEMPLATES, RUNS, WORKFLOW_TEMPLATES
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.steps.model import StepTree
from kubeling.gateway.steps.pipeline import steps_of_pipeline
from kubeling.gateway.steps.visible import View, shown
from kubeling.kube.objects import Obj

__all__ = ["act_on_pipeline", "pipeline_list", "pipeline_page", "template_list", "upload"]

_API: Final = "/apis/v2beta1/pipelines"


async def pipeline_list(
    views: Views, rest: RestClient, request: web.Request, wrong: str = ""
) -> web.Response:
    """All pipelines, and the form to upload one."""
    query = {"page_token": request.query.get("token", "")}
    listed = await rest.get(_API, page_size="50", sort_by="created_at desc", **query)
    return views.page(
        request,
        "catalogue.html",
        "/pipelines",
        "Pipelines",
        (RUNS,),
        status=422 if wrong else 200,
        pipelines=listed.get("pipelines") or [],
        token=listed.get("next_page_token", ""),
        wrong=wrong,
    )


async def pipeline_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """One pipeline and its versions."""
    pipeline_id = request.match_info["pipeline"]
    pipeline = await rest.get(f"{_API}/{pipeline_id}")
    listed = await rest.get(
        f"{_API}/{pipeline_id}/versions", page_size="50", sort_by="created_at desc"
    )
    found = listed.get("pipeline_versions") or []
    shown_id = request.query.get("version") or (found[0]["pipeline_version_id"] if found else "")
    drawn = next((v for v in found if v["pipeline_version_id"] == shown_id), None)
    return views.page(
        request,
        "pipeline.html",
        "/pipelines",
        pipeline.get("display_name", pipeline_id),
        pipeline=pipeline,
        versions=found,
        drawn=drawn,
        graph=_graph(drawn.get("pipeline_spec") or {}) if drawn else "",
    )


def _graph(package: Obj) -> str:
    """The pipeline as it may run; its steps lead nowhere yet."""
    steps = steps_of_pipeline(package)
    columns = shown(StepTree(steps), View(open=frozenset(s.id for s in steps if s.is_group)))
    details = {s.id: "" for s in steps} | {s.id: "step" for s in steps if not s.is_group}
    nowhere = "#graph".format
    picture = draw_graph(columns, frozenset(), nowhere, nowhere, details)
    return picture.draw("picture graph plan", f"Graph of {len(steps)} steps")


async def upload(views: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Takes a compiled pipeline, as a new pipeline or a version of one; then its form."""
    sent = await request.post()
    file, name = sent.get("file"), str(sent.get("name", "")).strip()
    if not isinstance(file, web.FileField):
        return await pipeline_list(views, rest, request, "file: Required value: choose a file")
    form = aiohttp.FormData()
    form.add_field("uploadfile", file.file.read(), filename=file.filename)
    pipeline = str(sent.get("pipeline", ""))
    try:
        if pipeline:
            path = f"{_API}/upload_version?{_query(pipelineid=pipeline, name=name)}"
        else:
            path = (
                f"{_API}/upload?{_query(name=name, description=str(sent.get('description', '')))}"
            )
        made = await rest.send("POST", path, form=form)
    except Refused as error:
        return await pipeline_list(views, rest, request, str(error))
    raise web.HTTPSeeOther(f"/pipelines/new?pipeline={made.get('pipeline_id', pipeline)}")


async def act_on_pipeline(_: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Deletes a pipeline with its versions, or one version."""
    pipeline = request.match_info["pipeline"]
    version = str((await request.post()).get("version", ""))
    if version:
        await rest.send("DELETE", f"{_API}/{pipeline}/versions/{version}")
        raise web.HTTPSeeOther(f"/pipelines/catalogue/{pipeline}")
    versions = await rest.get(f"{_API}/{pipeline}/versions", page_size="200")
    for entry in versions.get("pipeline_versions") or ():
        await rest.send("DELETE", f"{_API}/{pipeline}/versions/{entry['pipeline_version_id']}")
    await rest.send("DELETE", f"{_API}/{pipeline}")
    raise web.HTTPSeeOther("/pipelines/catalogue")


async def template_list(views: Views, request: web.Request) -> web.Response:
    """WorkflowTemplates, of namespaces and of the whole cluster."""
    watching = (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES)
    found = await views.objects(*watching)
    return views.page(
        request, "templates.html", "/pipelines", "Templates", watching, templates=found
    )


def _query(**values: str) -> str:
    return urlencode({key: value for key, value in values.items() if value})
