"""What the pipelines room offers: Runs, RecurringRuns, and the Kubeflow Pipelines API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from kubeling.component import Component, Context
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT"]


def _crds() -> Sequence[Obj]:
    from kubeling.pipelines.resources import crds

    return crds()


def _admission() -> Mapping[Resource, Admission]:
    from kubeling.pipelines.admission import admissions

    return admissions()


def _objects() -> Sequence[Obj]:
    from kubeling.pipelines.roles import cluster_roles

    return cluster_roles()


def _controllers(context: Context) -> Sequence[Controller]:
    from kubeling.pipelines.collection import collection_controllers
    from kubeling.pipelines.controller import run_controller
    from kubeling.pipelines.logs import log_controller
    from kubeling.pipelines.recurring import recurring_run_controller

    return [
        run_controller(context),
        recurring_run_controller(context),
        log_controller(context),
        *collection_controllers(context),
    ]


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.pipelines.api.routes import routes

    return routes(context)


COMPONENT: Final = Component(
    "pipelines",
    crds=_crds,
    admission=_admission,
    objects=_objects,
    controllers=_controllers,
    routes=_routes,
)
