"""How many replicas an autoscaler asks for. Pure.

As upstream's: the ratio of use to target, with a tolerance; pods without metrics count as idle when
growing and as fully used when shrinking; then the bounds, the rates of ``behavior``, and the window
over which a recommendation to shrink must hold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any, Final, Literal

from kubeling.kube.objects import Obj

__all__ = ["Change", "History", "Limit", "clamp", "desired_by_ratio", "limit_rate", "stabilized"]

_TOLERANCE: Final = 0.1
_DEFAULTS: Final[Mapping[str, Obj]] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
}

Limit = tuple[str, str]
"""Why a number was limited: a condition's reason and message."""


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
        oldest = now - dt.timedelta(hours=1)
        self.recommendations = [r for r in self.recommendations if r[0] > oldest]
        self.changes = [c for c in self.changes if c.at > oldest]


def desired_by_ratio(
    current: int, uses: Sequence[float], target: float, missing: int, total_target: float
) -> int:
    """The replicas at which the average use meets the target.

    ``uses`` are the pods' measured values, ``target`` what one pod should have; ``missing`` pods
    have no measurement and ``total_target`` is what each of them is assumed to use when shrinking.
    """
    if not uses:
        return current
    ratio = sum(uses) / (target * len(uses))
    if missing == 0:
        if abs(ratio - 1.0) <= _TOLERANCE:
            return current
        return ceil(ratio * len(uses))
    assumed = 0.0 if ratio > 1.0 else total_target
    filled = (sum(uses) + assumed * missing) / (target * (len(uses) + missing))
    if abs(filled - 1.0) <= _TOLERANCE or (filled > 1.0) != (ratio > 1.0):
        return current
    return ceil(filled * (len(uses) + missing))


def clamp(wanted: int, low: int, high: int) -> tuple[int, Limit | None]:
    """Between the bounds, and which one was hit."""
    if wanted < low:
        reason = "the desired replica count is less than the minimum replica count"
        return low, ("TooFewReplicas", reason)
    if wanted > high:
        reason = "the desired replica count is more than the maximum replica count"
        return high, ("TooManyReplicas", reason)
    return wanted, None


def limit_rate(
    spec: Obj, current: int, wanted: int, changes: Sequence[Change], now: dt.datetime
) -> tuple[int, Limit | None]:
    """As near to ``wanted`` as the policies for this direction allow."""
    if wanted == current:
        return wanted, None
    up = wanted > current
    rules = _rules(spec, "scaleUp" if up else "scaleDown")
    if rules["selectPolicy"] == "Disabled":
        return current, ("ScalingDisabled", "scaling in this direction is disabled")
    allowed = [_allowed(policy, current, changes, now, up=up) for policy in rules["policies"]]
    if up:
        bound = max(allowed) if rules["selectPolicy"] == "Max" else min(allowed)
        bound = max(bound, current)
        reason = ("ScaleUpLimit", "the desired replica count is increasing faster than allowed")
        return min(wanted, bound), (reason if wanted > bound else None)
    bound = min(allowed) if rules["selectPolicy"] == "Max" else max(allowed)
    bound = min(bound, current)
    reason = ("ScaleDownLimit", "the desired replica count is decreasing faster than allowed")
    return max(wanted, bound), (reason if wanted < bound else None)


def stabilized(spec: Obj, current: int, wanted: int, history: History, now: dt.datetime) -> int:
    """The mildest recommendation of the direction's window; records this one."""
    history.recommendations.append((now, wanted))
    up_floor = [n for at, n in history.recommendations if _within(spec, "scaleUp", at, now)]
    down_top = [n for at, n in history.recommendations if _within(spec, "scaleDown", at, now)]
    if wanted > current:
        return max(current, min([wanted, *up_floor]))
    if wanted < current:
        return min(current, max([wanted, *down_top]))
    return wanted


def _rules(spec: Obj, direction: Literal["scaleUp", "scaleDown"]) -> Obj:
    given = (spec.get("behavior") or {}).get(direction) or {}
    return {**_DEFAULTS[direction], **{k: v for k, v in given.items() if v is not None}}


def _within(
    spec: Obj, direction: Literal["scaleUp", "scaleDown"], at: dt.datetime, now: dt.datetime
) -> bool:
    window = float(_rules(spec, direction)["stabilizationWindowSeconds"])
    return (now - at).total_seconds() < window


def _allowed(
    policy: Mapping[str, Any],
    current: int,
    changes: Sequence[Change],
    now: dt.datetime,
    *,
    up: bool,
) -> int:
    period = dt.timedelta(seconds=int(policy["periodSeconds"]))
    recent = [c.by for c in changes if c.at > now - period and (c.by > 0) == up]
    start = current - sum(recent)
    value = int(policy["value"])
    if policy["type"] == "Pods":
        return start + value if up else start - value
    return ceil(start * (1 + value / 100)) if up else floor(start * (1 - value / 100))
