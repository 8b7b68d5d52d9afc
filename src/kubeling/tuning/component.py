"""Hyperparameter tuning: Katib's Experiment, Suggestion and Trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from kubeling.component import Component, Context, Listener
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT"]


def _crds() -> list[Obj]:
    from kubeling.tuning import resources
    from kubeling.tuning.optimization_job import resources as optimization_resources

    return [*resources.crds(), *optimization_resources.crds()]


def _admission() -> Mapping[Resource, Admission]:
    from kubeling.tuning import admission
    from kubeling.tuning.optimization_job import admission as optimization_admission

    return {**admission.admissions(), **optimization_admission.admissions()}


def _objects() -> Sequence[Obj]:
    from kubeling.tuning.trial_templates import trial_templates

    return trial_templates()


def _controllers(context: Context) -> list[Controller]:
    from kubeling.tuning.experiment_controller import experiment_controller
    from kubeling.tuning.optimization_job.controller import optimization_job_controller
    from kubeling.tuning.suggestion_controller import suggestion_controller
    from kubeling.tuning.trial_controller import trial_controller

    return [
        experiment_controller(context),
        suggestion_controller(context),
        trial_controller(context),
        optimization_job_controller(context),
    ]


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.tuning.api.routes import routes

    return routes(context)


def _listeners(context: Context) -> Sequence[Listener]:
    from kubeling.tuning.db_manager import db_manager

    return [db_manager(context)]


COMPONENT: Final = Component(
    name="tuning",
    crds=_crds,
    admission=_admission,
    objects=_objects,
    controllers=_controllers,
    routes=_routes,
    listeners=_listeners,
)
