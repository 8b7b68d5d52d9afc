"""The dashboard's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web

from kubeling.component import Context
from kubeling.gateway.kinds import BY_KIND
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.artifacts.pages import artifact_list, artifact_page
from kubeling.gateway.pages.catalogue import (
    act_on_pipeline,
    pipeline_list,
    pipeline_page,
    template_list,
    upload,
)
from kubeling.gateway.pages.compare import compare
from kubeling.gateway.pages.errors import explained
from kubeling.gateway.pages.experiments import experiment_page, experiments
from kubeling.gateway.pages.home import home
from kubeling.gateway.pages.lists import namespaces, notebooks, registry
from kubeling.gateway.pages.models import model_page, models
from kubeling.gateway.pages.objects import object_page, pod_log
from kubeling.gateway.pages.runs.actions import (
    act_on_recurring_run,
    act_on_run,
    act_on_workflow,
)
from kubeling.gateway.pages.runs.listing import experiment_list, run_list
from kubeling.gateway.pages.runs.progress import progress_page, progress_stream
from kubeling.gateway.pages.runs.step import run_step, workflow_step
from kubeling.gateway.pages.runs.subject import RunSource, WorkflowSource
from kubeling.gateway.pages.schedules import next_times, schedule_list
from kubeling.gateway.pages.submit import new_run, submit_run
from kubeling.gateway.pages.training import training
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = ["dashboard_routes"]

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]

_RUN = "/pipelines/runs/{run}"
_WORKFLOW = "/objects/argoproj.io/v1alpha1/Workflow/{namespace}/{name}"
_STATIC = Path(__file__).parent / "static"
_BY_NAME = {resource.qualified: resource for resource in BY_KIND.values()}


def dashboard_routes(context: Context) -> list[web.AbstractRouteDef]:
    """Every page, the event stream and the static files."""
    views, rest = Views(context), RestClient(context)
    runs, workflows = partial(RunSource, views, rest), partial(WorkflowSource, views, rest)
    pages: dict[str, Page] = {
        "/": partial(home, views),
        "/pipelines": partial(run_list, views, rest),
        "/pipelines/experiments": partial(experiment_list, views, rest),
        "/pipelines/catalogue": partial(pipeline_list, views, rest),
        "/pipelines/catalogue/{pipeline}": partial(pipeline_page, views, rest),
        "/pipelines/templates": partial(template_list, views),
        "/pipelines/recurring": partial(schedule_list, views, rest),
        "/pipelines/next": partial(next_times, views),
        "/pipelines/new": partial(new_run, views, rest),
        "/pipelines/compare": partial(compare, views, rest),
        "/artifacts": partial(artifact_list, views, rest),
        "/artifacts/{artifact}": partial(artifact_page, views, rest),
        _RUN: partial(progress_page, views, runs),
        f"{_RUN}/steps": partial(progress_stream, views, runs),
        f"{_RUN}/steps/{{step}}": partial(run_step, views, rest),
        _WORKFLOW: partial(progress_page, views, workflows),
        f"{_WORKFLOW}/steps": partial(progress_stream, views, workflows),
        f"{_WORKFLOW}/steps/{{step}}": partial(workflow_step, views, rest),
        f"{_WORKFLOW}/details": partial(object_page, views),
        "/experiments": partial(experiments, views),
        "/objects/kubeflow.org/v1beta1/Experiment/{namespace}/{name}": partial(
            experiment_page, views
        ),
        "/training": partial(training, views),
        "/models": partial(models, views),
        "/objects/serving.kserve.io/v1beta1/InferenceService/{namespace}/{name}": partial(
            model_page, views
        ),
        "/notebooks": partial(notebooks, views),
        "/registry": partial(registry, views, rest),
        "/namespaces": partial(namespaces, views),
        "/objects/{group}/{version}/{kind}/{namespace}/{name}": partial(object_page, views),
        "/pods/{namespace}/{name}/log": partial(pod_log, views),
    }
    forms: dict[str, Page] = {
        "/pipelines/new": partial(submit_run, views, rest),
        "/pipelines/upload": partial(upload, views, rest),
        "/pipelines/catalogue/{pipeline}": partial(act_on_pipeline, rest),
        "/pipelines/recurring/{job}": partial(act_on_recurring_run, rest),
        f"{_RUN}/act": partial(act_on_run, rest),
        f"{_WORKFLOW}/act": partial(act_on_workflow, rest),
    }
    routes: list[web.AbstractRouteDef] = [
        *(web.get(path, explained(views, page)) for path, page in pages.items()),
        *(web.post(path, explained(views, page)) for path, page in forms.items()),
    ]
    routes.append(web.get("/live", partial(_live, context)))
    return [*routes, web.static("/static", _STATIC)]


async def _live(context: Context, request: web.Request) -> web.StreamResponse:
    wanted = request.query.get("kinds", "").split(",")
    resources = [_BY_NAME[word] for word in wanted if word in _BY_NAME]
    return await stream_changes(request, context, resources)
