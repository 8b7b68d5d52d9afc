"""What tenancy offers the platform."""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.component import Component, Context
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj

__all__ = ["COMPONENT"]


def _crds() -> Sequence[Obj]:
    from kubeling.tenancy.resources import crds

    return crds()


def _objects() -> Sequence[Obj]:
    from kubeling.tenancy.roles import cluster_roles

    return cluster_roles()


def _controllers(context: Context) -> Sequence[Controller]:
    from kubeling.tenancy.controller import ProfileController

    return [ProfileController(context).controller()]


COMPONENT = Component(name="tenancy", crds=_crds, objects=_objects, controllers=_controllers)
