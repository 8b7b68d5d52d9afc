"""The autoscaler of an elastic job whose policy names metrics.

As upstream's ``hpa.go``, but that the autoscaler also goes when the job has ended, so that nothing
scales what runs no more.
"""

from __future__ import annotations

from kubeling.kube.resources import HORIZONTAL_POD_AUTOSCALERS
from kubeling.training.companions import Companion
from kubeling.training.job import TrainingJob

__all__ = ["autoscaler"]


def autoscaler(job: TrainingJob, *, wanted: bool) -> list[Companion]:
    """The HorizontalPodAutoscaler of a job, or that there must be none any more."""
    policy = job.elastic_policy
    if policy is None or not policy.metrics:
        return []
    if not wanted:
        return [Companion(HORIZONTAL_POD_AUTOSCALERS, job.name, None)]
    target = {"apiVersion": job.kind.resource.api_version, "kind": job.kind.name, "name": job.name}
    workers = job.count("Worker")
    spec = {
        "scaleTargetRef": target,
        "minReplicas": policy.min_replicas or workers,
        "maxReplicas": policy.max_replicas or workers,
        "metrics": policy.metrics,
    }
    return [Companion(HORIZONTAL_POD_AUTOSCALERS, job.name, {"spec": spec})]
