"""What to do about an experiment: a pure function of it, its trials and its suggestion."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from kubeling.kube.objects import Obj
from kubeling.tuning.defaults import PARALLEL_TRIALS
from kubeling.tuning.experiment_status import has_ended, status_of
from kubeling.tuning.tally import Tally

__all__ = ["Plan", "plan"]


@dataclass
class Plan:
    """What to do.

    ``requests`` is how many points the suggestion should have in all (``None`` leaves it);
    ``births`` are proposed points whose trials are to be created; ``surplus`` are trials to
    delete, because fewer may run at once than do.
    """

    status: Obj
    requests: int | None = None
    births: list[Obj] = field(default_factory=list)
    surplus: list[Obj] = field(default_factory=list)


def plan(experiment: Obj, tally: Tally, suggestion: Obj | None, now: dt.datetime) -> Plan:
    """What to do next."""
    found = Plan(status_of(experiment, tally, suggestion, now))
    if has_ended({"status": found.status}):
        return found
    active = tally.active
    wanted = _wanted(experiment, tally) - len(active)
    if wanted < 0:
        found.surplus = active[: wanted - 1 : -1]
        found.requests = tally.total + wanted
    elif wanted > 0:
        found.requests = tally.total + wanted
        found.births = _unborn(suggestion, tally)[:wanted]
    return found


def _wanted(experiment: Obj, tally: Tally) -> int:
    """How many trials should be active."""
    spec = experiment["spec"]
    parallel = int(spec.get("parallelTrialCount") or PARALLEL_TRIALS)
    most = spec.get("maxTrialCount")
    return parallel if most is None else min(int(most) - tally.ended, parallel)


def _unborn(suggestion: Obj | None, tally: Tally) -> list[Obj]:
    """The proposed points without a trial, in order."""
    proposed = ((suggestion or {}).get("status") or {}).get("suggestions") or ()
    return [point for point in proposed if point["name"] not in tally.known]
