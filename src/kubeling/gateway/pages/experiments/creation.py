"""New experiments: from a form that explains itself, or from YAML.

What a person wrote stays in the form when something is wrong, with the reason at its field.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.kinds import EXPERIMENTS
from kubeling.gateway.pages.experiments.source import base_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.gateway.trials.form import again, experiment_of_form
from kubeling.kube import yaml
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name

__all__ = ["create_experiment", "new_experiment"]

_BEGINNING: Final = {
    "type": "maximize",
    "algorithm": "auto",
    "trials": "20",
    "parallel": "3",
    "retain": "yes",
    "image": "python:3",
}
_NUMBER: Final = re.compile(r"-[0-9a-f]{4}$")
_LONGEST: Final = 35
_EXAMPLE: Final = """apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata:
  name: example
  namespace: default
spec:
  objective: {type: maximize, objectiveMetricName: accuracy}
  algorithm: {algorithmName: auto}
  maxTrialCount: 20
  parallelTrialCount: 3
  parameters:
    - name: lr
      parameterType: double
      feasibleSpace: {min: "0.0001", max: "0.1", distribution: logUniform}
  trialTemplate:
    primaryContainerName: trial
    trialParameters:
      - {name: lr, reference: lr}
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        backoffLimit: 0
        template:
          spec:
            restartPolicy: Never
            containers:
              - name: trial
                image: python:3
                command: [python, train.py, "--lr=${trialParameters.lr}"]
"""


async def new_experiment(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The form; ``?as=yaml`` is YAML, ``?from=NAMESPACE/NAME`` that of an experiment."""
    source = request.query.get("from", "")
    if source:
        where, _, wanted = source.partition("/")
        await views.objects(EXPERIMENTS)
        found = views.context.informers.of(EXPERIMENTS).get(where, wanted)
        if found is None:
            raise web.HTTPNotFound(text=f"There is no Experiment {wanted} in namespace {where}.")
        fresh = f"{_NUMBER.sub('', name(found))[:_LONGEST]}-{secrets.token_hex(2)}"
        return await _form(views, rest, request, {"yaml": again(found, fresh)}, {}, as_yaml=True)
    if request.query.get("as") == "yaml":
        return await _form(views, rest, request, {"yaml": _EXAMPLE}, {}, as_yaml=True)
    return await _form(views, rest, request, _BEGINNING, {}, as_yaml=False)


async def create_experiment(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Creates what was sent, or shows what is wrong with it."""
    sent = {key: str(value) for key, value in (await request.post()).items()}
    as_yaml = "yaml" in sent
    manifest, wrong = _of_yaml(sent["yaml"]) if as_yaml else experiment_of_form(sent)
    if not wrong:
        try:
            where = str(manifest["metadata"].get("namespace") or "default")
            made = await views.context.client.create(EXPERIMENTS, manifest, where)
            raise web.HTTPSeeOther(base_of(made))
        except ApiError as error:
            wrong = {"": str(error)}
    return await _form(views, rest, request, sent, wrong, as_yaml=as_yaml)


def _of_yaml(text: str) -> tuple[Obj, dict[str, str]]:
    try:
        found = yaml.load(text)
    except ValueError as error:
        return {}, {"": str(error)}
    kind = (found.get("apiVersion"), found.get("kind")) if isinstance(found, dict) else None
    if kind != (EXPERIMENTS.api_version, EXPERIMENTS.kind):
        said = f"This should be one {EXPERIMENTS.kind} of {EXPERIMENTS.api_version}."
        return {}, {"": said}
    if not isinstance(found.setdefault("metadata", {}), dict):
        return {}, {"": "metadata: Invalid value: it must have a name."}
    return found, {}


async def _form(
    views: Views,
    rest: RestClient,
    request: web.Request,
    values: Mapping[str, str],
    wrong: dict[str, str],
    *,
    as_yaml: bool,
) -> web.Response:
    known: Obj = {} if as_yaml else await rest.get("/api/tuning/algorithms")
    shown: dict[str, Any] = {
        "values": values,
        "wrong": wrong,
        "as_yaml": as_yaml,
        "algorithms": known.get("algorithms") or [],
        "stopping": known.get("earlyStopping") or [],
    }
    return views.page(
        request,
        "new_experiment.html",
        "/experiments",
        "New experiment",
        status=422 if wrong else 200,
        **shown,
    )
