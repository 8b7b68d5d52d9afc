"""All controllers of the embedded engine."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.engine.storage.all import storage_controllers
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
    tainteviction,
)
from kubeling.kube.controller import Controller

__all__ = ["controllers"]


def controllers(context: Context) -> list[Controller]:
    """The controllers of the embedded engine's workloads."""
    return [
        replicasets.controller(context),
        replicasets.older_controller(context),
        deployments.controller(context),
        statefulsets.controller(context),
        daemonsets.controller(context),
        jobs.controller(context),
        jobs.strays_controller(context),
        cronjobs.controller(context),
        endpoints.controller(context),
        *storage_controllers(context),
        autoscaling.controller(context),
        budgets.controller(context),
        quotas.controller(context),
        namespaces.controller(context),
        garbage.controller(context),
        podgc.controller(context),
        tainteviction.controller(context),
    ]
