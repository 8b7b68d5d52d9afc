"""A search under way: its experiment, its trials, and how to stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from kubeling.cli.tuning.readings import Readings
from kubeling.gateway.trials.model import Study, study_of
from kubeling.gateway.trials.repeat import command_of
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS
from kubeling.tuning.operations import stop
from kubeling.tuning.resources import EXPERIMENTS, TRIALS

__all__ = ["Search"]

_LABEL: Final = "katib.kubeflow.org/experiment"
_TRIAL: Final = "katib.kubeflow.org/trial"


class Search:
    """An experiment that was submitted."""

    def __init__(self, client: Client, experiment: Obj, readings: Readings) -> None:
        self._client = client
        self._experiment = experiment
        self._trials: list[Obj] = []
        self._readings = readings

    @classmethod
    async def begin(
        cls, client: Client, manifest: Obj, namespace: str, readings: Readings
    ) -> Search:
        """Creates the experiment."""
        return cls(client, await client.create(EXPERIMENTS, manifest, namespace), readings)

    @property
    def name(self) -> str:
        return name(self._experiment)

    def page(self, dashboard: str) -> str:
        """Where the dashboard shows it."""
        where = f"{namespace(self._experiment)}/{self.name}"
        return f"{dashboard}/objects/kubeflow.org/v1beta1/Experiment/{where}"

    async def read(self) -> Study:
        """How far it is."""
        where = namespace(self._experiment)
        found = await self._client.find(EXPERIMENTS, self.name, where)
        if found is None:
            return _gone(study_of(self._experiment, self._trials))
        self._experiment = found
        listed = await self._client.list(TRIALS, where, labels=f"{_LABEL}={self.name}")
        self._trials = listed.items
        study = study_of(self._experiment, self._trials)
        return study if study.final else await self._readings.of(study)

    async def stop(self) -> None:
        """Ends it with what it has."""
        await stop(self._client, self._experiment, self._trials)

    async def pods(self, study: Study) -> AsyncIterator[tuple[str, Obj]]:
        """The pods of trials that have begun, each with its trial's number."""
        begun = {t.name: f"#{t.number}" for t in study.trials if t.state != "pending"}
        listed = await self._client.list(PODS, study.namespace, labels=_TRIAL)
        for pod in listed.items:
            trial = (pod["metadata"].get("labels") or {}).get(_TRIAL)
            if trial in begun:
                yield begun[trial], pod

    def command(self, trial: str) -> str:
        """How a trial is run again by hand."""
        found = next((t for t in self._trials if name(t) == trial), None)
        return command_of(found, self._experiment) if found is not None else ""


def _gone(study: Study) -> Study:
    """What was deleted has ended."""
    return replace(study, state="failed", message="the experiment was deleted")
