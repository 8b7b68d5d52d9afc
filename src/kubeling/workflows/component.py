"""What the workflows room offers: Argo's kinds, their controllers, and the Argo Server API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubeling.component import Component, Context
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT"]


def _crds() -> Sequence[Obj]:
    from kubeling.workflows.resources import crds

    return crds()


def _admission() -> Mapping[Resource, Admission]:
    from kubeling.workflows.admission import admissions

    return admissions()


def _controllers(context: Context) -> Sequence[Controller]:
    from kubeling.workflows.controller import controllers

    return controllers(context)


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.workflows.api.routes import routes

    return routes(context)


COMPONENT = Component(
    "workflows", crds=_crds, admission=_admission, controllers=_controllers, routes=_routes
)
