"""What is filled into an Experiment when it is written, as upstream's mutating webhook does."""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.tuning.trial_kinds import trial_kind

__all__ = ["PARALLEL_TRIALS", "set_defaults"]

PARALLEL_TRIALS: Final = 3
FILE_PATH: Final = "/var/log/katib/metrics.log"
EVENT_FOLDER: Final = "/var/log/katib/tfevent/"
METRICS_PORT: Final = 8080
METRICS_PATH: Final = "/metrics"


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
    match collector["kind"]:
        case "File":
            _source(collector_spec, "fileSystemPath", path=FILE_PATH, kind="File", format="TEXT")
        case "TensorFlowEvent":
            _source(collector_spec, "fileSystemPath", path=EVENT_FOLDER, kind="Directory")
        case "PrometheusMetric":
            _source(collector_spec, "httpGet", port=METRICS_PORT, path=METRICS_PATH)


def _source(collector_spec: Obj, where: str, **defaults: str | int) -> None:
    source = collector_spec.setdefault("source", {}) or {}
    collector_spec["source"] = source
    if not isinstance(source, dict):
        return
    stated = source.get(where) or {}
    if isinstance(stated, dict):
        missing = {key: value for key, value in defaults.items() if not stated.get(key)}
        source[where] = {**stated, **missing}


def _dict(spec: Obj, field: str) -> dict[str, Any] | None:
    found = spec.get(field)
    return found if isinstance(found, dict) else None
