"""What an experiment asks of each of its trials, again and again: remembered while it is true.

An experiment is looked at whenever one of its trials changes, and of a thousand others none has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.kube.objects import Obj
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["TrialFacts"]


class TrialFacts:
    """The phases and objective values of one experiment's trials, by their versions."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str, TrialPhase]] = {}
        self._values: dict[str, tuple[str, float | None]] = {}

    def phase(self, trial: Obj) -> TrialPhase:
        """Where a trial stands."""
        metadata = trial["metadata"]
        version, uid = metadata.get("resourceVersion", ""), metadata.get("uid", "")
        known = self._phases.get(uid)
        if known is not None and version and known[0] == version:
            return known[1]
        found = phase_of(trial)
        self._phases[uid] = version, found
        return found

    def value(self, objective: Mapping[str, Any], trial: Obj) -> float | None:
        """What a trial measured of the objective."""
        metadata = trial["metadata"]
        version, uid = metadata.get("resourceVersion", ""), metadata.get("uid", "")
        known = self._values.get(uid)
        if known is not None and version and known[0] == version:
            return known[1]
        found = strategy_value(objective, trial["status"].get("observation"))
        self._values[uid] = version, found
        return found
