"""Compares what was recorded with a reference profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.drift import statistics
from kubeling.serving.drift.profile import (
    FeatureProfile,
    Profile,
    as_numbers,
    category_names,
    present,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["Thresholds", "compare", "compare_feature"]

_ENOUGH: Final = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Drift is an index this large that is this unlikely, over all features, without one."""

    psi: float = 0.2
    p_value: float = 0.01


def compare(
    reference: Profile,
    rows: Array,
    predictions: Array | None = None,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """The report: per feature, for the predictions, and over all; plain JSON values."""
    limits = thresholds or Thresholds()
    answers = np.empty(0) if predictions is None else predictions
    count = len(rows) or len(answers)
    report: dict[str, Any] = {"rows": count, "drift": False, "features": {}}
    if count < _ENOUGH:
        report["message"] = f"{count} rows are too few to tell; at least {_ENOUGH} are needed"
        return report
    evidence = report["evidence"] = _evidence(reference, rows) if len(rows) else count
    if len(rows):
        report["features"] = _features(reference, rows.reshape(count, -1), limits, evidence)
    if reference.predictions is not None and len(answers):
        found = compare_feature(reference.predictions, answers, limits, evidence)
        report["predictions"] = found
    drifted = [title for title, found in report["features"].items() if found["drift"]]
    report["drifted"] = drifted
    report["share_drifted"] = round(len(drifted) / max(1, len(reference.features)), 4)
    report["drift"] = bool(drifted) or report.get("predictions", {}).get("drift", False)
    return report


def _features(
    reference: Profile, table: Array, limits: Thresholds, evidence: int
) -> dict[str, dict[str, Any]]:
    if table.shape[1] != len(reference.features):
        raise ValueError(
            f"the reference has {len(reference.features)} features, but the recorded rows have "
            f"{table.shape[1]}"
        )
    each = replace(limits, p_value=limits.p_value / max(1, len(reference.features)))
    return {
        title: compare_feature(profile, table[:, index], each, evidence)
        for index, (title, profile) in enumerate(reference.features.items())
    }


def _evidence(reference: Profile, rows: Array) -> int:
    """How many rows count as seen: one that is asked twice says nothing new.

    Only where all features take few values do equal rows come about by themselves.
    """
    if all(profile.categories for profile in reference.features.values()):
        return len(rows)
    if rows.dtype == object:
        return len({repr(row) for row in rows.tolist()})
    return len({row.tobytes() for row in rows})


def compare_feature(
    profile: FeatureProfile, values: Array, limits: Thresholds, evidence: int
) -> dict[str, Any]:
    """One feature's measures; ``evidence`` is how many of the values are independent."""
    given = present(values)
    missing = len(values) - len(given)
    if profile.categories:
        before, now, found = _categories(profile, given, evidence)
    else:
        numbers = as_numbers(given)
        if numbers is None or not len(numbers):
            return {"drift": True, "message": "these are not numbers any more"}
        before, now, found = _numbers(profile, numbers, evidence)
    if profile.missing or missing:
        before, now = np.append(before, profile.missing), np.append(now, missing)
    index = statistics.psi(before, now)
    p_value = statistics.psi_p_value(index, len(before), int(before.sum()), evidence)
    drift = index >= limits.psi and p_value < limits.p_value
    return {
        "psi": round(index, 4),
        "psi_p_value": round(p_value, 6),
        **found,
        "missing": round(missing / max(1, len(values)), 4),
        "drift": drift,
    }


def _numbers(
    profile: FeatureProfile, numbers: Array, evidence: int
) -> tuple[Array, Array, dict[str, Any]]:
    before = np.asarray(profile.counts)
    now = np.bincount(np.searchsorted(profile.edges, numbers, side="right"), minlength=len(before))
    sample = np.asarray(profile.sample)
    statistic = statistics.ks_statistic(sample, numbers)
    p_value = statistics.ks_p_value(statistic, len(sample), evidence)
    found: dict[str, Any] = {"ks": round(statistic, 4), "ks_p_value": round(p_value, 6)}
    if profile.low is not None and profile.high is not None:
        outside = int(((numbers < profile.low) | (numbers > profile.high)).sum())
        found["out_of_range"] = round(outside / len(numbers), 4)
    return before, now, found


def _categories(
    profile: FeatureProfile, given: Array, evidence: int
) -> tuple[Array, Array, dict[str, Any]]:
    seen, counts = np.unique(category_names(given), return_counts=True)
    now = dict(zip(seen.tolist(), counts.tolist(), strict=True))
    known = [now.get(title, 0) for title in profile.categories]
    unknown = {title: count for title, count in now.items() if title not in profile.categories}
    before = [*profile.categories.values()]
    if profile.other or unknown:
        before, known = [*before, profile.other], [*known, sum(unknown.values())]
    found: dict[str, Any] = {"new_values": 0 if profile.other else sum(unknown.values())}
    if unknown and not profile.other:
        found["new"] = sorted(unknown, key=lambda title: -unknown[title])[:5]
    first, second = np.asarray(before), np.asarray(known)
    weight = min(1.0, evidence / max(1, len(given)))
    statistic, degrees = statistics.chi_squared(first, second * weight)
    p_value = statistics.chi_squared_p_value(statistic, degrees)
    return first, second, {**found, "chi2": round(statistic, 4), "chi2_p_value": round(p_value, 6)}
