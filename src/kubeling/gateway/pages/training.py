"""Training jobs of every kind."""

from __future__ import annotations

from aiohttp import web

from kubeling.gateway.kinds import TRAINING_JOBS
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import Obj

__all__ = ["replicas_of", "training"]


async def training(views: Views, request: web.Request) -> web.Response:
    """All training jobs with their replicas."""
    found = [(job, replicas_of(job)) for job in await views.objects(*TRAINING_JOBS)]
    return views.page(request, "training.html", "/training", "Training", TRAINING_JOBS, found=found)


def replicas_of(job: Obj) -> list[tuple[str, int, int]]:
    """``(role, running or done, wanted)`` for each role of a job."""
    spec, status = job["spec"], job.get("status") or {}
    for field, value in spec.items():
        if field.endswith("ReplicaSpecs"):
            counts = status.get("replicaStatuses") or {}
            return [
                (role, _alive(counts.get(role) or {}), int(replica.get("replicas", 1)))
                for role, replica in value.items()
            ]
    return [
        (entry["name"], int(entry.get("active") or 0) + int(entry.get("succeeded") or 0), 0)
        for entry in status.get("jobsStatus") or ()
    ]


def _alive(count: Obj) -> int:
    return int(count.get("active") or 0) + int(count.get("succeeded") or 0)
