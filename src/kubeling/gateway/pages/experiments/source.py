"""An experiment with its trials, from the caches and from the store of readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from kubeling.gateway.kinds import (
    EXPERIMENTS,
    OPTIMIZATION_JOBS,
    TRAIN_JOBS,
    TRIALS,
    link_to,
)
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.trials.model import Study, Trial, study_of
from kubeling.gateway.trials.repeat import command_of
from kubeling.gateway.trials.searches import command_of_train_job, study_of_search
from kubeling.kube.objects import Obj, is_owned_by, name, namespace
from kubeling.kube.resources import Resource

__all__ = ["Found", "base_of", "curves_of", "experiment_of", "is_about", "trial_link"]

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"


@dataclass(frozen=True, slots=True)
class Found:
    """What a path means: an Experiment, or an OptimizationJob, which searches over TrainJobs."""

    experiment: Obj
    trials: list[Obj]
    study: Study
    resource: Resource = EXPERIMENTS

    @property
    def base(self) -> str:
        return base_of(self.experiment, self.resource)

    @property
    def is_katib(self) -> bool:
        return self.resource == EXPERIMENTS

    def object(self, trial: Trial) -> Obj:
        return next(obj for obj in self.trials if name(obj) == trial.name)

    def command(self, trial: Trial) -> str:
        """What repeats a trial by hand."""
        if self.is_katib:
            return command_of(self.object(trial), self.experiment)
        return command_of_train_job(self.object(trial))


async def experiment_of(views: Views, request: web.Request) -> Found:
    """The experiment that a path names; 404 if there is none."""
    if request.path.startswith(f"/objects/{OPTIMIZATION_JOBS.api_version}/"):
        return await _search_of(views, request)
    experiment = await views.object(EXPERIMENTS, request)
    await views.objects(TRIALS)
    informer = views.context.informers.of(TRIALS)
    trials = [
        trial
        for trial in informer.list(namespace(experiment))
        if _experiment(trial) == name(experiment) and is_owned_by(trial, experiment)
    ]
    return Found(experiment, trials, study_of(experiment, trials))


async def _search_of(views: Views, request: web.Request) -> Found:
    job = await views.object(OPTIMIZATION_JOBS, request)
    await views.objects(TRAIN_JOBS)
    found = views.context.informers.of(TRAIN_JOBS).list(namespace(job))
    trials = [trial for trial in found if is_owned_by(trial, job)]
    return Found(job, trials, study_of_search(job, trials), OPTIMIZATION_JOBS)


def _experiment(trial: Obj, label: str = EXPERIMENT_LABEL) -> str:
    return str((trial["metadata"].get("labels") or {}).get(label) or "")


def is_about(where: str, wanted: str, label: str = EXPERIMENT_LABEL) -> Any:
    """Whether a change of an object is one of the experiment or of its trials."""

    def concerns(obj: Obj) -> bool:
        return namespace(obj) == where and wanted in (name(obj), _experiment(obj, label))

    return concerns


def base_of(experiment: Obj, resource: Resource = EXPERIMENTS) -> str:
    """The experiment's page."""
    where, called = namespace(experiment), name(experiment)
    return link_to(resource.api_version, resource.kind, where, called)


def trial_link(study: Study, trial: str) -> str:
    """A trial's page."""
    kind = study.trial_kind
    return link_to(kind.api_version, kind.kind, study.namespace, trial)


async def curves_of(
    rest: RestClient, study: Study, metric: str, *trials: str, latest: int = 0
) -> dict[str, list[tuple[float, float]]]:
    """By trial, its readings of a metric as they came: pairs of time and value."""
    query = [("metric", metric), *(("trial", trial) for trial in trials)]
    query += [("latest", str(latest))] if latest else []
    path = f"/api/tuning/{quote(study.namespace)}/{quote(study.name)}/curves?{urlencode(query)}"
    try:
        found = (await rest.get(path)).get("trials") or {}
    except Refused as error:
        if error.status == 404:
            return {}  # Deleted in the meantime.
        raise
    return {
        trial: [(float(t), float(v)) for t, v in metrics.get(metric) or ()]
        for trial, metrics in found.items()
    }
