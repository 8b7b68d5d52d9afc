"""What the workflows room offers: Argo's kinds, their admission and their controllers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeling.component import Component, Context
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

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


COMPONENT = Component("workflows", crds=_crds, admission=_admission, controllers=_controllers)
