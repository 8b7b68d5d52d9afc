"""The rules of a trial's ``spec.earlyStoppingRules``.

Source: ``cmd/metricscollector/v1beta1/file-metricscollector/main.go`` of Katib: a rule counts from
the ``startStep``-th report of its metric on; of the objective the best value so far is compared; a
rule that was fulfilled once stays fulfilled, and the trial stops when all are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubeling.kube.objects import Obj
from kubeling.tuning.early_stopping.curves import best, curve
from kubeling.tuning.metrics import Reading

__all__ = ["fulfilled", "rule"]


def rule(metric: str, value: float, minimize: bool, start_step: int) -> Obj:
    """A rule that stops trials worse than a value."""
    comparison = "greater" if minimize else "less"
    return {"name": metric, "value": str(value), "comparison": comparison, "startStep": start_step}


def fulfilled(
    rules: Sequence[Obj], objective: Mapping[str, Any], readings: Iterable[Reading]
) -> str:
    """Why all rules are fulfilled; empty while one is not, or where there are none."""
    reported = list(readings)
    reasons = [_fulfilled(rule, objective, reported) for rule in rules]
    return "; ".join(reasons) if all(reasons) else ""


def _fulfilled(rule: Obj, objective: Mapping[str, Any], readings: Sequence[Reading]) -> str:
    metric, limit = str(rule.get("name", "")), float(rule.get("value") or "nan")
    values = curve(readings, metric).values
    of_objective = metric == objective.get("objectiveMetricName")
    minimize = objective.get("type") == "minimize"
    start, so_far = max(int(rule.get("startStep") or 0), 1), math.inf if minimize else -math.inf
    for step, reported in enumerate(values, 1):
        so_far = best((so_far, reported), minimize)
        value = so_far if of_objective else reported
        if step >= start and _holds(value, str(rule.get("comparison")), limit):
            best_of = "the best " if of_objective else ""
            return f"{best_of}{metric} {value:g} after {step} reports is {rule['comparison']} " + (
                f"than {limit:g}" if rule["comparison"] != "equal" else f"to {limit:g}"
            )
    return ""


def _holds(value: float, comparison: str, limit: float) -> bool:
    match comparison:
        case "less":
            return value < limit
        case "greater":
            return value > limit
        case _:
            return value == limit
