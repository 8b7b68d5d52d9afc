"""What is filled into an Experiment when it is written, as upstream's mutating webhook does."""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.tuning.trial_kinds import trial_kind

__all__ = ["FILE_PATH", "PARALLEL_TRIALS", "set_defaults"]

PARALLEL_TRIALS: Final = 3
FILE_PATH: Final = "/var/log/katib/metrics.log"


def set_defaults(obj: Obj) -> None:
    """Fills in an Experiment in place; what has the wrong shape is left to validation."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    if spec.get("parallelTrialCount") is None:
        spec["parallelTrialCount"] = PARALLEL_TRIALS
    spec["resumePolicy"] = spec.get("resumePolicy") or "Never"
    _objective(_dict(spec, "objective"))
    _trial_template(_dict(spec, "trialTemplate"))
    _collector(spec)
    for parameter in spec.get("parameters") or ():
        space = parameter.get("feasibleSpace") if isinstance(parameter, dict) else None
        if isinstance(space, dict) and not space.get("distribution"):
            space["distribution"] = "uniform"


def _objective(objective: Obj | None) -> None:
    if objective is None or objective.get("type") not in ("minimize", "maximize"):
        return
    value = "min" if objective["type"] == "minimize" else "max"
    strategies = objective.get("metricStrategies") or []
    stated = {entry.get("name") for entry in strategies if isinstance(entry, dict)}
    names = [objective.get("objectiveMetricName"), *(objective.get("additionalMetricNames") or ())]
    objective["metricStrategies"] = [
        *strategies,
        *({"name": name, "value": value} for name in names if name and name not in stated),
    ]


def _trial_template(template: Obj | None) -> None:
    known = trial_kind(template.get("trialSpec")) if template else None
    if template is None or known is None:
        return
    template["successCondition"] = template.get("successCondition") or known.success
    template["failureCondition"] = template.get("failureCondition") or known.failure
    if not template.get("primaryPodLabels") and known.primary_pod_labels:
        template["primaryPodLabels"] = dict(known.primary_pod_labels)


def _collector(spec: Obj) -> None:
    collector_spec = spec.get("metricsCollectorSpec")
    if collector_spec is None:
        collector_spec = spec["metricsCollectorSpec"] = {}
    if not isinstance(collector_spec, dict):
        return
    collector = collector_spec.get("collector")
    if collector is None:
        collector = collector_spec["collector"] = {}
    if not isinstance(collector, dict):
        return
    collector["kind"] = collector.get("kind") or "StdOut"
    if collector["kind"] == "File":
        source = collector_spec.get("source") or {}
        where = source.get("fileSystemPath") or {}
        where["path"] = where.get("path") or FILE_PATH
        where["kind"] = where.get("kind") or "File"
        where["format"] = where.get("format") or "TEXT"
        source["fileSystemPath"] = where
        collector_spec["source"] = source


def _dict(spec: Obj, field: str) -> dict[str, Any] | None:
    found = spec.get(field)
    return found if isinstance(found, dict) else None
