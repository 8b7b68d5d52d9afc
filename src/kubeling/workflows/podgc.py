"""``podGC``: which pods of a Workflow are deleted, and when.

Upstream: ``workflow/controller/pod/cleanup.go``.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube import selectors
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj

__all__ = ["Garbage", "PodGc"]

_DELAY: Final = "5s"


@dataclass(frozen=True, slots=True)
class PodGc:
    """The rule a spec states; without one no pod is deleted."""

    strategy: str = ""
    selector: selectors.LabelSelector = field(default_factory=lambda: selectors.from_object({}))
    delay: dt.timedelta = dt.timedelta()

    @classmethod
    def of(cls, spec: Obj) -> PodGc:
        """The rule of a Workflow's spec."""
        wanted = spec.get("podGC") or {}
        seconds = parse_duration(wanted.get("deleteDelayDuration") or _DELAY)
        return cls(
            wanted.get("strategy") or "",
            selectors.from_object(wanted.get("labelSelector") or {}),
            dt.timedelta(seconds=seconds),
        )

    def applies(self, labels: Mapping[str, str], pod_phase: str, workflow_phase: str = "") -> bool:
        """Whether a pod that has ended is to be deleted; the Workflow may still run."""
        if not self.strategy or not self.selector.matches(labels):
            return False
        match self.strategy:
            case "OnPodCompletion":
                return True
            case "OnPodSuccess":
                return pod_phase == "Succeeded"
            case "OnWorkflowCompletion":
                return workflow_phase in ("Succeeded", "Failed", "Error")
            case _:
                return workflow_phase == "Succeeded"


class Garbage:
    """The pods of a Workflow under way that are to be deleted, by the time they are."""

    def __init__(self, rule: PodGc) -> None:
        self._rule = rule
        self._due: list[tuple[dt.datetime, str]] = []

    def note(self, pod: str, labels: Mapping[str, str], phase: str, now: dt.datetime) -> None:
        """Takes note of a pod that has ended, and whose step is known to have."""
        if self._rule.applies(labels, phase):
            heapq.heappush(self._due, (now + self._rule.delay, pod))

    @property
    def next(self) -> dt.datetime | None:
        """When the next pod is due."""
        return self._due[0][0] if self._due else None

    def take(self, now: dt.datetime) -> list[str]:
        """The pods that are due, once each."""
        found = []
        while self._due and self._due[0][0] <= now:
            found.append(heapq.heappop(self._due)[1])
        return found
