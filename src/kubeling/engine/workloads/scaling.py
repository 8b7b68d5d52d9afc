"""From the replicas that metrics ask for to those an autoscaler sets: windows, rates, bounds. Pure.

Without ``behavior`` the rules are simple: a recommendation to shrink must hold for five minutes,
and a step up at most doubles (or reaches four). With it, each direction has its window and
policies. Reasons and messages are those upstream's conditions carry.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, NamedTuple

from kubeling.kube.objects import Obj

__all__ = ["Change", "History", "Normalized", "Reason", "normalize"]

_SHRINK_WINDOW: Final = 300
_LONGEST_WINDOW: Final = dt.timedelta(hours=1)


class Reason(NamedTuple):
    """What a condition says."""

    reason: str
    message: str


_READY: Final = Reason("ReadyForNewScale", "recommended size matches current size")
_UP_CALMED: Final = Reason(
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN_CALMED: Final = Reason(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent "
    "recommendation",
)
_IN_RANGE: Final = Reason(
    "DesiredWithinRange", "the desired count is within the acceptable range"
)  # fmt: skip
_TOO_FEW: Final = Reason(
    "TooFewReplicas", "the desired replica count is less than the minimum replica count"
)
_TOO_MANY: Final = Reason(
    "TooManyReplicas", "the desired replica count is more than the maximum replica count"
)
_UP_LIMITED: Final = Reason(
    "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
)
_DOWN_LIMITED: Final = Reason(
    "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of replicas that was made."""

    at: dt.datetime
    by: int


@dataclass(slots=True)
class History:
    """What one autoscaler asked for and did; lost at a restart, which costs one window."""

    recommendations: list[tuple[dt.datetime, int]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def forget(self, now: dt.datetime) -> None:
        """Drops what no window reaches (the longest allowed is an hour)."""
        oldest = now - _LONGEST_WINDOW
        self.recommendations = [r for r in self.recommendations if r[0] > oldest]
        self.changes = [c for c in self.changes if c.at > oldest]


class Normalized(NamedTuple):
    """The replicas to set, and what the conditions AbleToScale and ScalingLimited say of them."""

    replicas: int
    able: Reason
    limited: bool
    limit: Reason


def normalize(
    spec: Obj, current: int, wanted: int, history: History, now: dt.datetime
) -> Normalized:
    """What becomes of a recommendation; it is recorded in the history."""
    low = int(spec.get("minReplicas", 1))
    high = int(spec["maxReplicas"])
    behavior = spec.get("behavior")
    if behavior is None:
        calm, able = _calmed_by_default(wanted, history, now)
        replicas, limit = _bounded(current, calm, low, high)
    else:
        calm, able = _calmed(behavior, current, wanted, history, now)
        replicas, limit = _rated(behavior, current, calm, (low, high), history.changes, now)
    history.recommendations.append((now, wanted))
    return Normalized(replicas, able, replicas != calm, limit)


def _calmed_by_default(wanted: int, history: History, now: dt.datetime) -> tuple[int, Reason]:
    oldest = now - dt.timedelta(seconds=_SHRINK_WINDOW)
    calm = max([wanted, *(n for at, n in history.recommendations if at >= oldest)])
    return calm, _READY if calm == wanted else _DOWN_CALMED


def _bounded(current: int, wanted: int, low: int, high: int) -> tuple[int, Reason]:
    rate = max(2 * current, 4)
    if wanted < low:
        return low, _TOO_FEW
    if wanted > min(high, rate):
        return min(high, rate), _UP_LIMITED if high > rate else _TOO_MANY
    return wanted, _IN_RANGE


def _calmed(
    behavior: Obj, current: int, wanted: int, history: History, now: dt.datetime
) -> tuple[int, Reason]:
    """Between the lowest recent recommendation upwards and the highest recent one downwards."""

    def recent(direction: str, default: int) -> list[int]:
        window = (behavior.get(direction) or {}).get("stabilizationWindowSeconds", default)
        oldest = now - dt.timedelta(seconds=int(window))
        return [n for at, n in history.recommendations if at > oldest]

    lowest = min([wanted, *recent("scaleUp", 0)])
    highest = max([wanted, *recent("scaleDown", _SHRINK_WINDOW)])
    calm = min(max(current, lowest), highest)
    if calm == wanted:
        return calm, _READY
    return calm, _UP_CALMED if wanted >= current else _DOWN_CALMED


def _rated(
    behavior: Obj,
    current: int,
    wanted: int,
    bounds: tuple[int, int],
    changes: Sequence[Change],
    now: dt.datetime,
) -> tuple[int, Reason]:
    low, high = bounds
    if wanted > current:
        rate = max(_reach(behavior.get("scaleUp") or {}, current, changes, now, up=True), current)
        if wanted > min(high, rate):
            return min(high, rate), _UP_LIMITED if high > rate else _TOO_MANY
    elif wanted < current:
        rules = behavior.get("scaleDown") or {}
        rate = min(_reach(rules, current, changes, now, up=False), current)
        if wanted < max(low, rate):
            return max(low, rate), _DOWN_LIMITED if low < rate else _TOO_FEW
    return wanted, _IN_RANGE


def _reach(
    rules: Obj, current: int, changes: Sequence[Change], now: dt.datetime, *, up: bool
) -> int:
    """How far the direction's policies let the replicas go from where they are."""
    choice = rules.get("selectPolicy", "Max")
    if choice == "Disabled":
        return current
    reaches = [_policy(p, current, changes, now, up=up) for p in rules.get("policies") or ()]
    # The largest change upwards is the highest number; downwards, the lowest.
    return max(reaches) if up == (choice != "Min") else min(reaches)


def _policy(
    policy: Mapping[str, Any],
    current: int,
    changes: Sequence[Change],
    now: dt.datetime,
    *,
    up: bool,
) -> int:
    since = now - dt.timedelta(seconds=int(policy["periodSeconds"]))
    start = current - sum(change.by for change in changes if change.at > since)
    value = int(policy["value"])
    if policy["type"] == "Pods":
        return start + value if up else start - value
    return ceil(start * (1 + value / 100)) if up else int(start * (1 - value / 100))
