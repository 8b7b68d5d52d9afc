"""The form that starts a run: made from the inputs of a pipeline, or of a workflow's template.

What a person wrote stays in the form when something is wrong, with the reason at its field.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.inputs import (
    Input,
    inputs_of_pipeline,
    inputs_of_template,
    read_inputs,
    text_of,
    without_caching,
)
from kubeling.gateway.kinds import (
    CLUSTER_WORKFLOW_TEMPLATES,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
    link_to,
)
from kubeling.gateway.pages.runs.listing import experiments_by_id
from kubeling.gateway.pages.schedules import upcoming
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, new_object

__all__ = ["new_run", "submit_run"]

_API: Final = "/apis/v2beta1"
_UNITS: Final = {"minutes": 60, "hours": 3600, "days": 86400}


@dataclass(frozen=True, slots=True)
class Startable:
    """What a form starts: a pipeline's version, a run again, or a template."""

    title: str
    query: str
    inputs: list[Input]
    values: dict[str, str]
    spec: Obj = field(default_factory=dict)
    reference: Obj | None = None
    template: Obj | None = None
    experiment: str = ""


async def new_run(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The form; without anything to start, what there is to start."""
    startable = await _startable(views, rest, request)
    if startable is None:
        return await _choice(views, rest, request)
    now = dt.datetime.now().strftime("%Y-%m-%d %H-%M")
    values = {f"p.{name}": text for name, text in startable.values.items()}
    values |= {
        "name": "" if startable.template else f"{startable.title} {now}",
        "experiment": startable.experiment,
        "caching": "on",
        "unit": "hours",
        "cron": "0 0 9 * * 1-5",
        "concurrency": "1",
    }
    return await _form(views, rest, request, startable, values, {})


async def submit_run(views: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """Starts what the form says, or shows it again with what is wrong."""
    startable = await _startable(views, rest, request)
    if startable is None:
        raise web.HTTPNotFound(text="There is nothing to start at this address.")
    given = {key: str(value) for key, value in (await request.post()).items()}
    answers = {name[2:]: text for name, text in given.items() if name.startswith("p.")}
    parameters, wrong = read_inputs(startable.inputs, answers)
    problems = {f"p.{name}": text for name, text in wrong.items()}
    trigger, bad = _trigger(given, views.context.clock.now())
    problems |= bad
    if problems:
        return await _form(views, rest, request, startable, given, problems)
    try:
        if startable.template is not None:
            where = await _start_template(views, startable.template, given, parameters)
        else:
            where = await _start_pipeline(rest, startable, given, parameters, trigger)
    except (Refused, ApiError) as error:
        return await _form(views, rest, request, startable, given, {"": str(error)})
    raise web.HTTPSeeOther(where)


async def _startable(views: Views, rest: RestClient, request: web.Request) -> Startable | None:
    query = request.query
    if run_id := query.get("run"):
        return await _of_run(rest, run_id)
    if pipeline := query.get("pipeline"):
        return await _of_version(rest, pipeline, query.get("version", ""))
    if name := query.get("template"):
        return await _of_template(views, query.get("namespace", ""), name)
    return None


async def _of_version(rest: RestClient, pipeline: str, version: str) -> Startable:
    path = f"{_API}/pipelines/{quote(pipeline, safe='')}/versions"
    if version:
        found = await rest.get(f"{path}/{quote(version, safe='')}")
    else:
        listed = await rest.get(path, page_size="1", sort_by="created_at desc")
        found = next(iter(listed.get("pipeline_versions") or ()), {})
        if not found:
            raise web.HTTPNotFound(text="This pipeline has no version: upload one.")
    spec = found.get("pipeline_spec") or {}
    title = str(found.get("display_name") or (await rest.get(path[:-9])).get("display_name"))
    reference = {"pipeline_id": pipeline, "pipeline_version_id": found["pipeline_version_id"]}
    query = f"pipeline={quote(pipeline)}&version={quote(str(found['pipeline_version_id']))}"
    inputs = inputs_of_pipeline(spec)
    return Startable(title, query, inputs, _defaults(inputs), spec, reference)


async def _of_run(rest: RestClient, run_id: str) -> Startable:
    run = await rest.get(f"{_API}/runs/{quote(run_id, safe='')}")
    reference = run.get("pipeline_version_reference")
    spec = run.get("pipeline_spec") or {}
    if reference:
        path = f"{_API}/pipelines/{reference['pipeline_id']}/versions"
        version = await rest.get(f"{path}/{reference['pipeline_version_id']}")
        spec = version.get("pipeline_spec") or {}
    inputs = inputs_of_pipeline(spec)
    given = (run.get("runtime_config") or {}).get("parameters") or {}
    values = _defaults(inputs) | {name: text_of(value) for name, value in given.items()}
    experiments = await experiments_by_id(rest)
    experiment = experiments.get(str(run.get("experiment_id")), {})
    return Startable(
        f"Again: {run.get('display_name', run_id)}"[:100],
        f"run={quote(run_id)}",
        inputs,
        values,
        spec,
        reference,
        experiment=str(experiment.get("display_name", "")),
    )


async def _of_template(views: Views, namespace: str, name: str) -> Startable:
    resource = WORKFLOW_TEMPLATES if namespace else CLUSTER_WORKFLOW_TEMPLATES
    template = await views.context.client.get(resource, name, namespace)
    inputs = inputs_of_template(template["spec"])
    query = f"template={quote(name)}" + (f"&namespace={quote(namespace)}" if namespace else "")
    return Startable(name, query, inputs, _defaults(inputs), template=template)


def _defaults(inputs: list[Input]) -> dict[str, str]:
    return {entry.name: entry.default for entry in inputs if entry.default is not None}


async def _start_pipeline(
    rest: RestClient,
    startable: Startable,
    given: Mapping[str, str],
    parameters: Obj,
    trigger: Obj | None,
) -> str:
    body: Obj = {
        "display_name": given.get("name", "").strip() or startable.title,
        "description": given.get("description", "").strip(),
        "runtime_config": {"parameters": parameters},
    }
    if root := given.get("pipeline_root", "").strip():
        body["runtime_config"]["pipeline_root"] = root
    if account := given.get("service_account", "").strip():
        body["service_account"] = account
    if given.get("caching") and startable.reference:
        body["pipeline_version_reference"] = startable.reference
    else:
        spec = startable.spec
        body["pipeline_spec"] = spec if given.get("caching") else without_caching(spec)
    if experiment := given.get("experiment", "").strip():
        body["experiment_id"] = await _experiment(rest, experiment)
    if trigger is None:
        run = await rest.send("POST", f"{_API}/runs", body)
        return f"/pipelines/runs/{run['run_id']}"
    body |= {
        "trigger": trigger,
        "mode": "ENABLE",
        "max_concurrency": given.get("concurrency") or "1",
        "no_catchup": not given.get("catchup"),
    }
    await rest.send("POST", f"{_API}/recurringruns", body)
    return "/pipelines/recurring"


async def _experiment(rest: RestClient, name: str) -> str:
    for key, experiment in (await experiments_by_id(rest)).items():
        if experiment.get("display_name") == name:
            return key
    made = await rest.send("POST", f"{_API}/experiments", {"display_name": name})
    return str(made["experiment_id"])


async def _start_template(
    views: Views, template: Obj, given: Mapping[str, str], parameters: Obj
) -> str:
    metadata = template["metadata"]
    namespace = str(metadata.get("namespace") or given.get("namespace", "").strip() or "default")
    workflow = new_object(WORKFLOWS, given.get("name", "").strip(), namespace)
    if not workflow["metadata"]["name"]:
        del workflow["metadata"]["name"]
        workflow["metadata"]["generateName"] = f"{metadata['name']}-"
    workflow["spec"] = {
        "workflowTemplateRef": {
            "name": metadata["name"],
            **({} if metadata.get("namespace") else {"clusterScope": True}),
        },
        "arguments": {
            "parameters": [{"name": key, "value": text_of(v)} for key, v in parameters.items()]
        },
    }
    made = await views.context.client.create(WORKFLOWS, workflow, namespace)
    return link_to(WORKFLOWS.api_version, "Workflow", namespace, made["metadata"]["name"])


def _trigger(given: Mapping[str, str], now: dt.datetime) -> tuple[Obj | None, dict[str, str]]:
    """When to run, ``None`` for now; and what is wrong with it."""
    match given.get("schedule", ""):
        case "cron":
            trigger: Obj = {"cron_schedule": {"cron": given.get("cron", "").strip()}}
            try:
                upcoming(trigger, now)
            except ValueError as error:
                return None, {"cron": str(error)}
            return trigger, {}
        case "interval":
            every = given.get("every", "").strip()
            if not every.isdecimal() or int(every) < 1:
                return None, {"every": "must be a whole number, 1 or more"}
            seconds = int(every) * _UNITS.get(given.get("unit", ""), 3600)
            return {"periodic_schedule": {"interval_second": str(seconds)}}, {}
    return None, {}


async def _form(
    views: Views,
    rest: RestClient,
    request: web.Request,
    startable: Startable,
    values: Mapping[str, str],
    wrong: Mapping[str, str],
) -> web.Response:
    experiments = [] if startable.template else list((await experiments_by_id(rest)).values())
    return views.page(
        request,
        "submit.html",
        "/pipelines",
        f"Run {startable.title}",
        status=422 if wrong else 200,
        startable=startable,
        values=values,
        wrong=wrong,
        experiments=[e.get("display_name", "") for e in experiments],
        units=list(_UNITS),
    )


async def _choice(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    listed: dict[str, Any] = await rest.get(
        f"{_API}/pipelines", page_size="100", sort_by="created_at desc"
    )
    templates = await views.objects(WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES)
    return views.page(
        request,
        "choose.html",
        "/pipelines",
        "New run",
        pipelines=listed.get("pipelines") or [],
        templates=templates,
    )
