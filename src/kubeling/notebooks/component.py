"""What notebooks offer the platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeling.component import Component, Context
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT"]


def _crds() -> Sequence[Obj]:
    from kubeling.notebooks.resources import crds

    return crds()


def _controllers(context: Context) -> Sequence[Controller]:
    from kubeling.notebooks.controller import NotebookController

    return [NotebookController(context).controller()]


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.notebooks.api import routes

    return routes(context)


COMPONENT = Component(name="notebooks", crds=_crds, controllers=_controllers, routes=_routes)
