"""The Notebook kind (kubeflow.org/v1; v1beta1 and v1alpha1 beside it)."""

from __future__ import annotations

from typing import Final

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, PodTemplateSpec, Time, Version, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["NOTEBOOKS", "crds"]

NOTEBOOKS: Final = Resource("kubeflow.org", "v1", "Notebook", "notebooks")


class NotebookSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What to run: the first container is the notebook server."""

    template: PodTemplateSpec


class NotebookCondition(Condition, rename="camel", omit_defaults=True):
    """A condition of the pod, mirrored."""

    last_probe_time: Time | None = None


class NotebookStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """How the server is doing."""

    conditions: list[NotebookCondition] = []
    ready_replicas: int = 0
    container_state: AnyObject | None = None


def crds() -> list[Obj]:
    """The definitions of this room."""
    columns = [
        Column("Ready", ".status.readyReplicas", "integer"),
        Column("Image", ".spec.template.spec.containers[0].image", priority=1),
    ]
    versions = [Version("v1beta1"), Version("v1alpha1")]
    return [crd(NOTEBOOKS, NotebookSpec, NotebookStatus, columns=columns, versions=versions)]
