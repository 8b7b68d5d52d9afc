"""What the outside world tells an execution, as plain data."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Literal

from kubeling.pipelines.nodes import Outputs, TaskError

__all__ = ["CacheSeen", "PodPhase", "PodSeen", "Sighting"]

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True, slots=True)
class CacheSeen:
    """The cache's answer; without outputs the task has to run. ``reason`` is for people.

    ``unknown`` says that nothing is kept for its key; why will be looked for when it is stored.
    """

    path: str
    reason: str
    outputs: Outputs | None = None
    task_id: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class PodSeen:
    """How the pod of an attempt is doing; ``waiting`` says what keeps it from starting."""

    path: str
    attempt: int
    epoch: int
    phase: PodPhase
    pod: str = ""
    outputs: Outputs = field(default_factory=Outputs)
    error: TaskError | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    waiting: str = ""
    may_retry: bool = True

    def with_outputs(self, outputs: Outputs) -> PodSeen:
        """The same attempt, which made something."""
        return replace(self, outputs=outputs)

    def with_error(self, error: TaskError) -> PodSeen:
        """The same attempt, failed."""
        return replace(self, phase="Failed", error=error)


Sighting = CacheSeen | PodSeen
