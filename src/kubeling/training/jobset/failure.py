"""What a JobSet's failure policy says about failed Jobs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Obj, labels
from kubeling.training.jobset.objects import REPLICATED_JOB

__all__ = ["Verdict", "judge"]

_RESTART: Final = "RestartJobSet"
_RESTART_UNCOUNTED: Final = "RestartJobSetAndIgnoreMaxRestarts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all starts again (``counts`` towards the limit) or fails, because of which Job."""

    job: Obj
    reason: str
    message: str
    restart: bool = False
    counts: bool = False


def judge(policy: Obj | None, failed: Sequence[Obj], restarts: int) -> Verdict:
    """The first rule that fits any failed Job decides; of those it fits, the first that failed."""
    first = min(failed, key=_failed_at)
    if policy is None:
        text = "jobset failed due to one or more job failures"
        return Verdict(first, "FailedJobs", text)
    action = _RESTART
    for rule in policy.get("rules") or ():
        if fitting := [job for job in failed if _fits(rule, job)]:
            action, first = rule["action"], min(fitting, key=_failed_at)
            break
    if action == _RESTART and restarts >= int(policy.get("maxRestarts") or 0):
        text = "jobset failed due to reaching max number of restarts"
        return Verdict(first, "ReachedMaxRestarts", text)
    restart = action in (_RESTART, _RESTART_UNCOUNTED)
    return Verdict(
        first,
        f"{action}FailurePolicyAction",
        f"applying {action} failure policy action",
        restart=restart,
        counts=action == _RESTART,
    )


def _fits(rule: Obj, job: Obj) -> bool:
    reasons, targets = rule.get("onJobFailureReasons"), rule.get("targetReplicatedJobs")
    return (not reasons or _failure(job).get("reason") in reasons) and (
        not targets or labels(job).get(REPLICATED_JOB) in targets
    )


def _failure(job: Obj) -> Obj:
    for entry in (job.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Failed" and entry.get("status") == "True":
            found: Obj = entry
            return found
    return {}


def _failed_at(job: Obj) -> str:
    """RFC 3339 in UTC sorts as text."""
    return str(_failure(job).get("lastTransitionTime") or "")
