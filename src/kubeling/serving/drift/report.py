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
    count = len(rows)
    report: dict[str, Any] = {"rows": count, "drift": False, "features": {}}
    if count < _ENOUGH:
        report["message"] = f"{count} rows are too few to tell; at least {_ENOUGH} are needed"
        return report
    table = rows.reshape(count, -1)
    evidence = _evidence(reference, table)
    if table.shape[1] != len(reference.features):
        raise ValueError(
            f"the reference has {len(reference.features)} features, but the recorded rows have "
            f"{table.shape[1]}"
        )
    each = replace(limits, p_value=limits.p_value / max(1, len(reference.features)))
    for index, (title, profile) in enumerate(reference.features.items()):
        report["features"][title] = compare_feature(profile, table[:, index], each, evidence)
    if reference.predictions is not None and predictions is not None and len(predictions):
        found = compare_feature(reference.predictions, predictions, limits, evidence)
        report["predictions"] = found
    drifted = [title for title, found in report["features"].items() if found["drift"]]
    report["drifted"] = drifted
    report["share_drifted"] = round(len(drifted) / max(1, len(reference.features)), 4)
    report["drift"] = bool(drifted) or report.get("predictions", {}).get("drift", False)
    return report


def _evidence(reference: Profile, table: Array) -> int:
    """How many rows count as seen: one that is asked twice says nothing new.

    Only where all features take few values do equal rows come about by themselves.
    """
    if all(profile.categories for profile in reference.features.values()):
        return len(table)
    return len({row.tobytes() for row in table})


def compare_feature(
    profile: FeatureProfile, values: Array, limits: Thresholds, evidence: int
) -> dict[str, Any]:
    """One feature's measures; ``evidence`` is how many of the values are independent."""
    if profile.categories:
        before, now = _category_counts(profile, values)
        found: dict[str, Any] = {"new_values": int(now[len(profile.categories) :].sum())}
    else:
        numbers = as_numbers(values)
        if numbers is None or not len(numbers):
            return {"drift": True, "message": "these are not numbers any more"}
        before = np.asarray(profile.counts)
        now = np.bincount(
            np.searchsorted(profile.edges, numbers, side="right"), minlength=len(before)
        )
        found = _ks(profile, numbers, evidence)
    index = statistics.psi(before, now)
    p_value = statistics.psi_p_value(index, len(before), int(before.sum()), evidence)
    drift = index >= limits.psi and p_value < limits.p_value
    return {"psi": round(index, 4), "psi_p_value": round(p_value, 6), **found, "drift": drift}


def _ks(profile: FeatureProfile, numbers: Array, evidence: int) -> dict[str, Any]:
    sample = np.asarray(profile.sample)
    statistic = statistics.ks_statistic(sample, numbers)
    p_value = statistics.ks_p_value(statistic, len(sample), evidence)
    return {"ks": round(statistic, 4), "ks_p_value": round(p_value, 6)}


def _category_counts(profile: FeatureProfile, values: Array) -> tuple[Array, Array]:
    seen, counts = np.unique(category_names(values), return_counts=True)
    now = dict(zip(seen.tolist(), counts.tolist(), strict=True))
    titles = [*profile.categories, *(title for title in now if title not in profile.categories)]
    before = np.asarray([profile.categories.get(title, 0) for title in titles])
    return before, np.asarray([now.get(title, 0) for title in titles])
