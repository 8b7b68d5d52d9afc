"""The dashboard's routes.

Pages are named, and imported when the first of their kind is asked for: a platform that nobody
looks at starts without them.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from kubeling.component import Context
from kubeling.gateway.kinds import (
    BY_KIND,
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    TRAINING_JOBS,
    TRAINING_RUNTIMES,
    WORKFLOW_TEMPLATES,
)
from kubeling.gateway.live import stream_changes
from kubeling.gateway.pages.errors import explained
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient

__all__ = ["dashboard_routes"]

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATIC: Final = Path(__file__).parent / "static"
_BY_NAME: Final = {resource.qualified: resource for resource in BY_KIND.values()}
_RUN: Final = "/pipelines/runs/{run}"
_ARCHIVED: Final = "/pipelines/archived/{uid}"
_WORKFLOW: Final = "/objects/argoproj.io/v1alpha1/Workflow/{namespace}/{name}"
_EXPERIMENT: Final = "/objects/kubeflow.org/v1beta1/Experiment/{namespace}/{name}"
_SEARCH: Final = "/objects/trainer.kubeflow.org/v1alpha1/OptimizationJob/{namespace}/{name}"
_STUDIES: Final = (_EXPERIMENT, _SEARCH)
_TRIAL: Final = "/objects/kubeflow.org/v1beta1/Trial/{namespace}/{name}"
_MODEL: Final = "/objects/serving.kserve.io/v1beta1/InferenceService/{namespace}/{name}"
_GRAPH: Final = "/objects/serving.kserve.io/v1alpha1/InferenceGraph/{namespace}/{name}"
_TRAINING: Final = tuple(
    f"/objects/{resource.api_version}/{resource.kind}/{{namespace}}/{{name}}"
    for resource in TRAINING_JOBS
)
_DEFINITIONS: Final = tuple(
    f"/objects/{resource.api_version}/{resource.kind}/{{namespace}}/{{name}}"
    for resource in (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS)
)
_RUNTIMES: Final = tuple(
    f"/objects/{resource.api_version}/{resource.kind}/{{namespace}}/{{name}}"
    for resource in TRAINING_RUNTIMES
)

# By address: a module of ``kubeling.gateway.pages`` and its function.
_OF_RESOURCES: Final = {
    "/": "home:home",
    "/pipelines/templates": "catalogue:template_list",
    **dict.fromkeys(_DEFINITIONS, "definitions:definition_page"),
    "/pipelines/next": "schedules:next_times",
    f"{_WORKFLOW}/details": "objects:object_page",
    "/experiments": "experiments.pages:experiment_list",
    **dict.fromkeys(_STUDIES, "experiments.pages:experiment_page"),
    **{f"{path}/insight": "experiments.insight:insight_page" for path in _STUDIES},
    **{f"{path}/importance": "experiments.insight:importance_part" for path in _STUDIES},
    **{f"{path}/details": "experiments.pages:details_page" for path in _STUDIES},
    **{f"{path}/trials.csv": "experiments.pages:csv_of_trials" for path in _STUDIES},
    f"{_SEARCH}/live": "experiments.pages:search_stream",
    "/training": "training.pages:training_list",
    "/training/runtimes": "training.runtimes:runtime_list",
    **dict.fromkeys(_RUNTIMES, "training.runtimes:runtime_page"),
    **dict.fromkeys(_TRAINING, "training.pages:training_page"),
    **{f"{path}/live": "training.pages:training_stream" for path in _TRAINING},
    "/models/graphs": "models.others:graph_list",
    "/models/trained": "models.others:trained_list",
    "/models/llms": "models.others:llm_list",
    "/models/caches": "models.others:cache_list",
    "/models/runtimes": "models.others:runtime_list",
    _GRAPH: "models.others:graph_page",
    "/notebooks": "lists:notebooks",
    "/namespaces": "lists:namespaces",
    "/objects/{group}/{version}/{kind}/{namespace}/{name}": "objects:object_page",
    "/pods/{namespace}/{name}/log": "objects:pod_log",
}
_OF_COMPONENTS: Final = {
    "/pipelines": "runs.listing:run_list",
    "/pipelines/experiments": "runs.listing:experiment_list",
    "/pipelines/catalogue": "catalogue:pipeline_list",
    "/pipelines/catalogue/{pipeline}": "catalogue:pipeline_page",
    "/pipelines/recurring": "schedules:schedule_list",
    "/pipelines/new": "submit:new_run",
    "/pipelines/compare": "compare:compare",
    "/artifacts": "artifacts.pages:artifact_list",
    "/artifacts/{artifact}": "artifacts.pages:artifact_page",
    _RUN: "runs.progress:run_page",
    f"{_RUN}/steps": "runs.progress:run_stream",
    f"{_RUN}/steps/{{step}}": "runs.step:run_step",
    _WORKFLOW: "runs.progress:workflow_page",
    f"{_WORKFLOW}/steps": "runs.progress:workflow_stream",
    f"{_WORKFLOW}/steps/{{step}}": "runs.step:workflow_step",
    "/pipelines/workflows": "runs.workflows:workflow_list",
    _ARCHIVED: "runs.progress:archived_page",
    f"{_ARCHIVED}/details": "runs.workflows:archived_details",
    f"{_ARCHIVED}/steps": "runs.progress:archived_stream",
    f"{_ARCHIVED}/steps/{{step}}": "runs.step:archived_step",
    f"{_EXPERIMENT}/curves": "experiments.insight:curves_page",
    **{f"{path}/compared": "experiments.pages:compared_page" for path in _STUDIES},
    f"{_EXPERIMENT}/live": "experiments.pages:experiment_stream",
    _TRIAL: "experiments.trial:trial_page",
    f"{_TRIAL}/live": "experiments.trial:trial_stream",
    "/experiments/new": "experiments.creation:new_experiment",
    "/models": "models.pages:models",
    _MODEL: "models.pages:model_page",
    f"{_MODEL}/live": "models.pages:model_stream",
    f"{_MODEL}/try": "models.parts:form_part",
    f"{_MODEL}/drift": "models.parts:drift_part",
    f"{_GRAPH}/try": "models.parts:graph_form_part",
    "/registry": "lists:registry",
    "/registry/experiments/{experiment}": "tracking:tracked_experiment",
}
_FORMS: Final = {
    "/pipelines/new": "submit:submit_run",
    "/pipelines/upload": "catalogue:upload",
    "/pipelines/catalogue/{pipeline}": "catalogue:act_on_pipeline",
    "/pipelines/recurring/{job}": "runs.actions:act_on_recurring_run",
    "/pipelines/cron/{namespace}/{name}": "runs.actions:act_on_cron_workflow",
    f"{_RUN}/act": "runs.actions:act_on_run",
    f"{_WORKFLOW}/act": "runs.actions:act_on_workflow",
    f"{_ARCHIVED}/act": "runs.actions:act_on_archived",
    "/experiments/new": "experiments.creation:create_experiment",
    **{f"{path}/act": "experiments.actions:act_on_experiment" for path in _STUDIES},
    f"{_TRIAL}/act": "experiments.actions:act_on_trial",
    f"{_MODEL}/act": "models.actions:act_on_model",
    f"{_MODEL}/try": "models.parts:try_model",
    f"{_GRAPH}/try": "models.parts:try_graph",
    **{f"{path}/act": "training.pages:act_on_training_job" for path in _TRAINING},
}


def dashboard_routes(context: Context) -> list[web.AbstractRouteDef]:
    """Every page, every form, the event stream and the static files."""
    views, rest = Views(context), RestClient(context)
    pages = {path: _named(name, views) for path, name in _OF_RESOURCES.items()}
    pages |= {path: _named(name, views, rest) for path, name in _OF_COMPONENTS.items()}
    forms = {path: _named(name, views, rest) for path, name in _FORMS.items()}
    # What is more exact comes first: the page of any object would answer for them all.
    routes: list[web.AbstractRouteDef] = [
        web.get(path, explained(views, pages[path])) for path in sorted(pages, key=_generality)
    ]
    routes += [web.post(path, explained(views, form)) for path, form in forms.items()]
    routes.append(web.get("/live", partial(_live, context)))
    return [*routes, web.static("/static", _STATIC)]


def _generality(path: str) -> int:
    return path.count("{")


def _named(name: str, *arguments: Any) -> Page:
    module, _, function = name.partition(":")

    async def page(request: web.Request) -> web.StreamResponse:
        path = f"kubeling.gateway.pages.{module}"
        found = await asyncio.to_thread(importlib.import_module, path)
        response: web.StreamResponse = await getattr(found, function)(*arguments, request)
        return response

    return page


async def _live(context: Context, request: web.Request) -> web.StreamResponse:
    wanted = request.query.get("kinds", "").split(",")
    resources = [_BY_NAME[word] for word in wanted if word in _BY_NAME]
    return await stream_changes(request, context, resources)
