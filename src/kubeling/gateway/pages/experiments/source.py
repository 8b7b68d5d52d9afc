"""An experiment with its trials, from the caches and from the store of readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from kubeling.gateway.kinds import EXPERIMENTS, TRIALS, link_to
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.trials.model import Study, Trial, study_of
from kubeling.kube.objects import Obj, is_owned_by, name, namespace

__all__ = ["Found", "base_of", "curves_of", "experiment_of", "is_about", "trial_link"]

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"


@dataclass(frozen=True, slots=True)
class Found:
    """What a path means."""

    experiment: Obj
    trials: list[Obj]
    study: Study

    @property
    def base(self) -> str:
        return base_of(self.experiment)

    def object(self, trial: Trial) -> Obj:
        return next(obj for obj in self.trials if name(obj) == trial.name)


async def experiment_of(views: Views, request: web.Request) -> Found:
    """The experiment that a path names; 404 if there is none."""
    experiment = await views.object(EXPERIMENTS, request)
    await views.objects(TRIALS)
    informer = views.context.informers.of(TRIALS)
    trials = [
        trial
        for trial in informer.list(namespace(experiment))
        if _experiment(trial) == name(experiment) and is_owned_by(trial, experiment)
    ]
    return Found(experiment, trials, study_of(experiment, trials))


def _experiment(trial: Obj) -> str:
    return str((trial["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL) or "")


def is_about(where: str, wanted: str) -> Any:
    """Whether a change of an object is one of the experiment or of its trials."""

    def concerns(obj: Obj) -> bool:
        return namespace(obj) == where and wanted in (name(obj), _experiment(obj))

    return concerns


def base_of(experiment: Obj) -> str:
    """The experiment's page."""
    return link_to(EXPERIMENTS.api_version, "Experiment", namespace(experiment), name(experiment))


def trial_link(study: Study, trial: str) -> str:
    """A trial's page."""
    return link_to(TRIALS.api_version, "Trial", study.namespace, trial)


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
