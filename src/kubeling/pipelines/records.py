"""What the database holds about runs, without the database.

Whatever reads these need not import SQLAlchemy, so an idle platform does not load it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from kubeling.pipelines.nodes import Outputs

__all__ = ["FINAL_STATES", "CacheEntry", "EarlierKey", "RunRecord"]

FINAL_STATES: Final = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
"""States of a run that has ended."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the database says about a run's state."""

    state: str
    error: str
    epoch: int
    state_history: list[dict[str, Any]]
    finished_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A task whose outputs can be taken."""

    run_id: str
    task_id: str
    created_at: dt.datetime
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class EarlierKey:
    """What the key of an earlier task of a component was made from."""

    run_id: str
    created_at: dt.datetime
    parts: dict[str, str]
