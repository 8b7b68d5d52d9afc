"""The condition ``DataDrift``, and the Events of its episodes, from a report.

It is True once two verdicts in a row said so: a verdict is made every few seconds, and one of many
is wrong by chance. Its message names the revision and features, but no numbers, so that it changes
when they do. A verdict is of one revision: when another one gets most of the requests, nothing of
it is known yet, and its drift is an episode of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, condition

__all__ = ["CONDITION", "IN_A_ROW", "Verdict", "judged_before", "verdict_of"]

CONDITION: Final = "DataDrift"
IN_A_ROW: Final = 2
_NAMED: Final = 10
_UNSAMPLED: Final = (
    "no request was sampled yet; pods that began before monitoring was turned on sample none"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The condition's status, and why."""

    status: str
    reason: str
    message: str

    def of(self, revision: str) -> Verdict:
        """The verdict that names the revision it is of."""
        return Verdict(self.status, self.reason, f"{revision}: {self.message}")


def judged_before(isvc: Obj, revision: str) -> str:
    """The condition's status, if it is of this revision."""
    before = condition(isvc, CONDITION)
    if before is None or not before.message.startswith(f"{revision}: "):
        return ""
    return before.status


def verdict_of(report: Mapping[str, Any], positive: int, before: str) -> Verdict:
    """``before`` is the condition's status until now, which stands while there is no evidence.

    It is empty if the condition is not there, or of another revision.
    """
    if not report.get("enough"):
        if before in ("True", "False"):
            return Verdict(before, "Unchanged", "too few rows since the last verdict to tell")
        said = report.get("message", "")
        few = "too few rows were sampled to tell" if report.get("window") else _UNSAMPLED
        return Verdict("Unknown", "TooFewRows", said if "features" in said else few)
    source = report.get("reference", "")
    if not report["drift"]:
        return Verdict("False", "NoDrift", f"requests look like {source}")
    if positive < IN_A_ROW and before != "True":
        said = f"requests differ from {source} by one verdict; drift is two in a row"
        return Verdict("False", "DriftSuspected", said)
    if not before:
        # What went on of another revision ends first, so that this is an episode of its own.
        return Verdict("Unknown", "NewRevision", "it gets most of the requests now")
    drifted = report["drifted"]
    if not drifted:
        return Verdict("True", "PredictionsDrifted", f"drifted from {source}: the predictions")
    shown = ", ".join(drifted[:_NAMED]) + (" and others" if len(drifted) > _NAMED else "")
    also = ", and the predictions" if report.get("predictions", {}).get("drift") else ""
    return Verdict("True", "FeaturesDrifted", f"drifted from {source}: {shown}{also}")
