"""When a model predicted, for the spans of those whose requests it predicted.

A prediction is of a batch, and ends with a call to each request of it; while those calls are made,
what is known of the prediction can be asked for here. Nothing is noted while traces are off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from kubeling.monitoring.tracing import Span
from kubeling.serving import spans

__all__ = ["PredictionTimes", "add_prediction", "noted"]

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]


class PredictionTimes:
    """When a prediction began and ended (nanoseconds of the epoch), and for how many requests."""

    __slots__ = ("began", "ended", "requests")

    def __init__(self, requests: int) -> None:
        self.began = self.ended = 0
        self.requests = requests


_told: list[PredictionTimes] = []


def noted(
    work: Callable[[], T], done: Done, requests: int
) -> tuple[Callable[[], T], Callable[[T | None, BaseException | None], None]]:
    """The same work, and the same call at its end, but noted."""
    times = PredictionTimes(requests)

    def timed() -> T:
        times.began = time.time_ns()
        try:
            return work()
        finally:
            times.ended = time.time_ns()

    def told(found: T | None, error: BaseException | None) -> None:
        _told.append(times)
        try:
            done(found, error)
        finally:
            _told.pop()

    return timed, told


def add_prediction(span: Span, within: bool = False) -> None:
    """Adds when the model predicted, as it is told: to the span of the request, or of the step."""
    times = _told[-1] if _told else None
    if times is None or not span.sampled:
        return
    span.child("queue", started=span.started).end(max(times.began, span.started))
    if within:
        span.attributes[spans.BATCH_REQUESTS] = times.requests
    else:
        predicted = {spans.BATCH_REQUESTS: times.requests}
        span.child("predict", attributes=predicted, started=times.began).end(times.ended)
