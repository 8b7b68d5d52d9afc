"""The paths of Katib's UI backend, for what else asks them. Upstream: ``pkg/ui/v1beta1``.

What it answers is what upstream answers, text in JSON included; values of metrics come from the
store in one query instead of one for each trial. Graphs of architecture search are not drawn.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import json
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import NAMESPACES, PODS, Resource
from kubeling.tuning.api.json_string import json_string
from kubeling.tuning.api.readings import metrics_of
from kubeling.tuning.api.templates import TrialTemplates
from kubeling.tuning.experiment_controller import EXPERIMENT_LABEL
from kubeling.tuning.instrumentation import TRIAL_LABEL
from kubeling.tuning.metrics import number
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS
from kubeling.tuning.store import observation_store

__all__ = ["KatibUi"]

_RUN: Final = "kubeflow-kale.org/kfp-run-uuid"


class KatibUi:
    """``/katib/…``"""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._store = observation_store(context)
        self._templates = TrialTemplates(context.client)

    async def fetch_experiments(self, request: web.Request) -> web.Response:
        """Experiments of a namespace with the last condition as their status."""
        found = (await self._client.list(EXPERIMENTS, _asked(request, "namespace"))).items
        return web.json_response([_viewed(experiment) for experiment in found])

    async def create_experiment(self, request: web.Request) -> web.Response:
        """Creates what ``postData`` holds."""
        made = (await _body(request)).get("postData")
        if not isinstance(made, dict):
            raise web.HTTPBadRequest(text="postData: Required value: the Experiment")
        where = str((made.get("metadata") or {}).get("namespace") or "default")
        await self._client.create(EXPERIMENTS, made, where)
        return web.Response()

    async def delete_experiment(self, request: web.Request) -> web.Response:
        """Deletes one; what is left is the answer."""
        where, wanted = _asked(request, "namespace"), _asked(request, "experimentName")
        await self._client.delete(EXPERIMENTS, wanted, where)
        found = (await self._client.list(EXPERIMENTS)).items
        left = [e for e in found if (namespace(e), name(e)) != (where, wanted)]
        return web.json_response([_viewed(experiment) for experiment in left])

    async def fetch_experiment(self, request: web.Request) -> web.Response:
        """One Experiment."""
        return web.json_response(await self._get(request, EXPERIMENTS, "experimentName"))

    async def fetch_trial(self, request: web.Request) -> web.Response:
        """One Trial."""
        return web.json_response(await self._get(request, TRIALS, "trialName"))

    async def fetch_suggestion(self, request: web.Request) -> web.Response:
        """One Suggestion."""
        return web.json_response(await self._get(request, SUGGESTIONS, "suggestionName"))

    async def fetch_hp_job_info(self, request: web.Request) -> web.Response:
        """A table of trials: status, name, metrics, parameters, and the run that did it."""
        experiment = await self._get(request, EXPERIMENTS, "experimentName")
        selector = f"{EXPERIMENT_LABEL}={name(experiment)}"
        trials = (await self._client.list(TRIALS, namespace(experiment), labels=selector)).items
        metrics = metrics_of(experiment)
        parameters = [p["name"] for p in experiment["spec"].get("parameters") or ()]
        of_runs = any(_annotation(trial) for trial in trials)
        header = ["Status", "trialName", *metrics, *parameters]
        rows = [[*header, "KFP Run"] if of_runs else header]
        best = "min" if experiment["spec"]["objective"].get("type") == "minimize" else "max"
        for trial in trials:
            given = {p["name"]: p["value"] for p in trial["spec"].get("parameterAssignments") or ()}
            row = [_status_of(trial), name(trial)]
            row += _measured(trial, metrics, best)
            row += [str(given.get(parameter, "")) for parameter in parameters]
            rows.append([*row, _annotation(trial)] if of_runs else row)
        return web.json_response(_csv(rows).removesuffix("\n"))

    async def fetch_hp_job_trial_info(self, request: web.Request) -> web.Response:
        """A trial's readings; of several in one second the best."""
        trial = await self._get(request, TRIALS, "trialName")
        store = await self._store()
        better = min if trial["spec"]["objective"].get("type") == "minimize" else max
        found: dict[tuple[str, str], str] = {}
        for reading in await store.read(namespace(trial), uid(trial)):
            if number(reading.value) is None:
                continue
            moment = (reading.time or dt.datetime.now(dt.UTC)).strftime("%Y-%m-%dT%H:%M:%S")
            key = (reading.name, moment)
            found[key] = better(found.get(key, reading.value), reading.value, key=float)
        rows = [["metricName", "time", "value"]]
        rows += [[metric, moment, value] for (metric, moment), value in found.items()]
        return web.json_response(_csv(rows))

    async def fetch_nas_job_info(self, _: web.Request) -> web.Response:
        """Refused: see the module."""
        raise web.HTTPNotImplemented(text="graphs of architectures are not drawn here")

    async def fetch_trial_templates(self, _: web.Request) -> web.Response:
        """Templates of trials, of all namespaces."""
        return web.json_response(await self._templates.view())

    async def add_template(self, request: web.Request) -> web.Response:
        """Adds a template, and its ConfigMap if that is new."""
        return web.json_response(await self._templates.change("add", await _body(request)))

    async def edit_template(self, request: web.Request) -> web.Response:
        """Replaces a template, under another path if that has changed."""
        return web.json_response(await self._templates.change("edit", await _body(request)))

    async def delete_template(self, request: web.Request) -> web.Response:
        """Deletes a template."""
        return web.json_response(await self._templates.change("delete", await _body(request)))

    async def fetch_namespaces(self, _: web.Request) -> web.Response:
        """Names of all namespaces."""
        found = (await self._client.list(NAMESPACES)).items
        return web.json_response([name(entry) for entry in found])

    async def fetch_trial_logs(self, request: web.Request) -> web.StreamResponse:
        """What a trial's primary container has written, as one text, passed on as it is read."""
        trial = await self._get(request, TRIALS, "trialName")
        wanted = trial["spec"].get("primaryPodLabels") or {}
        selector = ",".join(
            [f"{TRIAL_LABEL}={name(trial)}", *(f"{key}={value}" for key, value in wanted.items())]
        )
        pods = (await self._client.list(PODS, namespace(trial), labels=selector)).items
        if not pods:
            raise web.HTTPNotFound(
                text=f"there is no pod of trial {name(trial)} any more; trialTemplate.retain "
                "keeps those of trials that succeed"
            )
        container = trial["spec"].get("primaryContainerName") or ""
        log = self._client.logs(name(pods[0]), namespace(trial), container=container)
        async with contextlib.aclosing(json_string(log)) as pieces:
            # What is refused is refused before the answer begins.
            first = await anext(pieces)
            answer = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
            await answer.prepare(request)
            await answer.write(first)
            async for piece in pieces:
                await answer.write(piece)
        await answer.write_eof()
        return answer

    async def _get(self, request: web.Request, resource: Resource, field: str) -> Obj:
        return await self._client.get(
            resource, _asked(request, field), _asked(request, "namespace")
        )


def _asked(request: web.Request, field: str) -> str:
    found = request.query.get(field)
    if found is None:
        raise web.HTTPBadRequest(text=f"no '{field}' provided")
    return found


async def _body(request: web.Request) -> Obj:
    try:
        sent: Any = await request.json()
    except json.JSONDecodeError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from None
    if not isinstance(sent, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    return sent


def _viewed(experiment: Obj) -> Obj:
    kind = "nas" if experiment["spec"].get("nasConfig") else "hp"
    return {
        "name": name(experiment),
        "namespace": namespace(experiment),
        "type": kind,
        "status": _status_of(experiment),
        **(experiment.get("status") or {}),
    }


def _status_of(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return str(conditions[-1]["type"]) if conditions else ""


def _measured(trial: Obj, metrics: list[str], best: str) -> list[str]:
    """The best value of each metric, of trials whose metrics count."""
    observed = ((trial.get("status") or {}).get("observation") or {}).get("metrics") or ()
    values = {entry["name"]: str(entry.get(best, "")) for entry in observed}
    return [values.get(metric, "") for metric in metrics]


def _annotation(trial: Obj) -> str:
    return str((trial["metadata"].get("annotations") or {}).get(_RUN) or "")


def _csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
