"""All workload controllers, and what they need to exist."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.engine.storage import claims
from kubeling.engine.storage.binding import standard_class
from kubeling.engine.workloads import (
    autoscaling,
    budgets,
    cronjobs,
    daemonsets,
    deployments,
    endpoints,
    garbage,
    jobs,
    namespaces,
    podgc,
    quotas,
    replicasets,
    statefulsets,
)
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.resources import STORAGE_CLASSES

__all__ = ["controllers", "ensure_storage_class"]


def controllers(context: Context) -> list[Controller]:
    """The controllers of the embedded engine's workloads."""
    return [
        replicasets.controller(context),
        deployments.controller(context),
        statefulsets.controller(context),
        daemonsets.controller(context),
        jobs.controller(context),
        jobs.strays_controller(context),
        cronjobs.controller(context),
        endpoints.controller(context),
        claims.claim_controller(context),
        claims.volume_controller(context),
        autoscaling.controller(context),
        budgets.controller(context),
        quotas.controller(context),
        namespaces.controller(context),
        garbage.controller(context),
        podgc.controller(context),
    ]


async def ensure_storage_class(context: Context) -> None:
    """Creates the standard storage class where there is no class at all."""
    if (await context.client.list(STORAGE_CLASSES, limit=1)).items:
        return
    try:
        await context.client.create(STORAGE_CLASSES, standard_class())
    except AlreadyExists:
        return
