"""When a failed task is tried again. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.pipelines.ir import RetryPolicy

__all__ = ["next_attempt"]

_MAX: Final = 3600.0


def next_attempt(policy: RetryPolicy | None, attempt: int, now: dt.datetime) -> dt.datetime | None:
    """When the attempt after ``attempt`` (from 0) may start, or ``None`` if it was the last."""
    if policy is None or attempt >= policy.max_retry_count:
        return None
    limit = _seconds(policy.backoff_max_duration) or _MAX
    pause = min(
        _seconds(policy.backoff_duration) * (policy.backoff_factor or 2.0) ** attempt, limit
    )
    return now + dt.timedelta(seconds=pause)


def _seconds(duration: str) -> float:
    """Protobuf's JSON form of a duration, ``1.5s``."""
    try:
        return float(duration.removesuffix("s") or 0)
    except ValueError:
        return 0.0
