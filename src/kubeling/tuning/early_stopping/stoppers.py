"""Stopping by comparison with the other trials' curves, and by a curve that has gone flat.

Each function returns why a trial should stop at a step of its curve, or nothing. It may be asked of
thousands of steps in a row, as after a restart, so none looks at all steps before.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from kubeling.tuning.early_stopping.catalogue import number_of
from kubeling.tuning.early_stopping.curves import Curve

__all__ = ["asha", "median", "patient", "percentile"]


def median(curves: Sequence[Curve], settings: Mapping[str, str]) -> tuple[float, int] | None:
    """The median of completed trials' averages up to the first step that counts, and that step.

    Upstream takes the arithmetic mean of the averages, which one diverged trial makes useless,
    and divides by zero where a trial reported nothing.
    """
    start = int(number_of("medianstop", "start_step", settings))
    complete = [curve.values[:start] for curve in curves if curve.complete and curve.values]
    if len(complete) < number_of("medianstop", "min_trials_required", settings):
        return None
    return statistics.median(statistics.fmean(values) for values in complete), start


def asha(
    own: Curve, reached: int, others: Sequence[Curve], settings: Mapping[str, str], minimize: bool
) -> str | None:
    """Asynchronous successive halving: of the trials that got as far, one in ``eta`` goes on.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning". A rung is judged when it
    is reached, by the trials that reached it before.
    """
    factor = int(number_of("asha", "reduction_factor", settings))
    rate = int(number_of("asha", "min_early_stopping_rate", settings))
    rung = int(number_of("asha", "min_resource", settings)) * factor**rate
    while rung < reached:
        rung *= factor
    if rung != reached:
        return None
    mine = own.best(reached, minimize)
    rivals = [o.best(reached, minimize) for o in others if len(o.values) >= reached]
    better = sum(1 for value in rivals if (value < mine if minimize else value > mine))
    places = max((len(rivals) + 1) // factor, 1)
    if better < places:
        return None
    return f"place {better + 1} of {len(rivals) + 1} after {reached} reports, and {places} go on"


def percentile(
    own: Curve, step: int, others: Sequence[Curve], settings: Mapping[str, str], minimize: bool
) -> str | None:
    """Only the best ``percentile`` percent go on, as the completed trials stood at this step."""
    complete = [o.best(step, minimize) for o in others if o.complete and len(o.values) >= step]
    if step < number_of("percentile", "start_step", settings):
        return None
    if not complete or len(complete) < number_of("percentile", "min_trials_required", settings):
        return None
    share = number_of("percentile", "percentile", settings)
    limit = _quantile(complete, share if minimize else 100 - share)
    mine = own.best(step, minimize)
    if mine <= limit if minimize else mine >= limit:
        return None
    return f"the best {share:g}% stood at {limit:g} after {step} reports, this trial at {mine:g}"


def patient(own: Curve, step: int, settings: Mapping[str, str], minimize: bool) -> str | None:
    """No progress for ``patience`` reports."""
    patience = int(number_of("patient", "patience", settings))
    if step < max(patience + 1, number_of("patient", "start_step", settings)):
        return None
    before, now = own.best(step - patience, minimize), own.best(step, minimize)
    gain = before - now if minimize else now - before
    if gain > number_of("patient", "min_delta", settings):
        return None
    return f"no report of the last {patience} was better than {before:g}"


def _quantile(values: Sequence[float], percent: float) -> float:
    """By linear interpolation, as numpy does."""
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
