"""Defaults of what runs pods: sets, jobs, autoscalers."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.defaults.pods import TEMPLATE
from kubeling.apiserver.defaults.rules import Rule, Rules, default, part
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["WORKLOAD_DEFAULTS"]

_MAX_INT: Final = 2**31 - 1
_SPEC_TEMPLATE: Final = Rule("spec.template", TEMPLATE)
_CPU_PERCENT: Final = 80


def _rolling(**values: object) -> tuple[Rule, ...]:
    """A DaemonSet's or StatefulSet's way to update, with its details if it rolls."""

    def details(strategy: Obj) -> None:
        if strategy.get("type") == "RollingUpdate":
            default(strategy, {"rollingUpdate": {}})
            default(part(strategy, "rollingUpdate"), values)

    return (
        Rule("spec", {"updateStrategy": {}}),
        Rule("spec.updateStrategy", {"type": "RollingUpdate"}),
        Rule("spec.updateStrategy", details),
    )


def _deployment_strategy(strategy: Obj) -> None:
    if strategy.get("type") == "RollingUpdate":
        default(strategy, {"rollingUpdate": {}})
        default(part(strategy, "rollingUpdate"), {"maxUnavailable": "25%", "maxSurge": "25%"})


def _labels_of_template(obj: Obj) -> None:
    labels = part(part(part(part(obj, "spec"), "template"), "metadata"), "labels")
    metadata = part(obj, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = deep_copy(labels)


def _selector_of_template(spec: Obj) -> None:
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    if labels and not spec.get("selector"):
        spec["selector"] = deep_copy(labels)


def _job(spec: Obj) -> None:
    per_index = spec.get("backoffLimitPerIndex") is not None
    failing = spec.get("podFailurePolicy") is not None
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    default(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": _MAX_INT if per_index else 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "manualSelector": False,
            "podReplacementPolicy": "Failed" if failing else "TerminatingOrFailed",
        },
    )


def _metrics(spec: Obj) -> None:
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _scaling(behavior: Obj) -> None:
    """Both directions have rules as soon as one is described."""
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    default(behavior, {"scaleUp": {}, "scaleDown": {}})
    default(
        part(behavior, "scaleUp"),
        {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]},
    )
    default(part(behavior, "scaleDown"), {"selectPolicy": "Max", "policies": [percent]})


WORKLOAD_DEFAULTS: Final[Rules] = {
    ("apps/v1", "Deployment"): (
        Rule(
            "spec",
            {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
             "strategy": {}},
        ),
        Rule("spec.strategy", {"type": "RollingUpdate"}),
        Rule("spec.strategy", _deployment_strategy),
        _SPEC_TEMPLATE,
    ),
    ("apps/v1", "ReplicaSet"): (Rule("spec", {"replicas": 1}), _SPEC_TEMPLATE),
    ("apps/v1", "StatefulSet"): (
        Rule(
            "spec",
            {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
             "persistentVolumeClaimRetentionPolicy": {}},
        ),
        Rule(
            "spec.persistentVolumeClaimRetentionPolicy",
            {"whenDeleted": "Retain", "whenScaled": "Retain"},
        ),
        *_rolling(partition=0),
        Rule(
            "spec.volumeClaimTemplates[]",
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}},
        ),
        Rule("spec.volumeClaimTemplates[].spec", {"volumeMode": "Filesystem"}),
        _SPEC_TEMPLATE,
    ),
    ("apps/v1", "DaemonSet"): (
        Rule("spec", {"revisionHistoryLimit": 10}),
        *_rolling(maxUnavailable=1, maxSurge=0),
        _SPEC_TEMPLATE,
    ),
    ("v1", "ReplicationController"): (
        Rule("", _labels_of_template),
        Rule("spec", _selector_of_template),
        Rule("spec", {"replicas": 1}),
        _SPEC_TEMPLATE,
    ),
    ("batch/v1", "Job"): (
        Rule("", _labels_of_template),
        Rule("spec", _job),
        Rule("spec.podFailurePolicy.rules[].onPodConditions[]", {"status": "True"}),
        _SPEC_TEMPLATE,
    ),
    ("batch/v1", "CronJob"): (
        Rule(
            "spec",
            {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3,
             "failedJobsHistoryLimit": 1},
        ),
        Rule("spec.jobTemplate", {"metadata": {}}),
        Rule("spec.jobTemplate.spec.template", TEMPLATE),
    ),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): (
        Rule("spec", {"minReplicas": 1}),
        Rule("spec", _metrics),
        Rule("spec.behavior", _scaling),
    ),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): (
        Rule("spec", {"minReplicas": 1, "targetCPUUtilizationPercentage": _CPU_PERCENT}),
    ),
}  # fmt: skip
