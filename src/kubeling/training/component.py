"""Distributed training: the kubeflow.org/v1 jobs and trainer.kubeflow.org's TrainJob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kubeling.component import Component, Context, Listener
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["COMPONENT"]


def _crds() -> list[Obj]:
    from kubeling.training import resources
    from kubeling.training.jobset import resources as jobset_resources
    from kubeling.training.trainer import resources as trainer_resources

    return [*resources.crds(), *jobset_resources.crds(), *trainer_resources.crds()]


def _admission() -> Mapping[Resource, Admission]:
    from kubeling.training import admission
    from kubeling.training.jobset import admission as jobset_admission
    from kubeling.training.trainer import admission as trainer_admission

    return {
        **admission.admissions(),
        **jobset_admission.admissions(),
        **trainer_admission.admissions(),
    }


def _objects() -> list[Obj]:
    from kubeling.training.trainer.runtimes import builtin_runtimes, public_version

    return [*public_version(), *builtin_runtimes()]


def _controllers(context: Context) -> list[Controller]:
    from kubeling.training.controller import controller_of
    from kubeling.training.jobset.controller import jobset_controller
    from kubeling.training.kinds import KINDS
    from kubeling.training.settings import TrainingSettings
    from kubeling.training.trainer.controller import train_job_controller

    found = [*(controller_of(kind, context) for kind in KINDS), train_job_controller(context)]
    if TrainingSettings.of(context.settings).jobsets:
        found.append(jobset_controller(context))
    return found


def _listeners(context: Context) -> Sequence[Listener]:
    from kubeling.training.trainer.progress_api import progress_server

    return [progress_server(context)]


COMPONENT: Final = Component(
    name="training",
    crds=_crds,
    admission=_admission,
    objects=_objects,
    controllers=_controllers,
    listeners=_listeners,
)
