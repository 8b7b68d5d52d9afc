"""When a canary is rolled back."""

from __future__ import annotations

from kubeling.serving.canary_limits import Limits
from kubeling.serving.traffic import RevisionRecord


def record(good: int, bad: int = 0, seconds: float = 0.01) -> RevisionRecord:
    found = RevisionRecord()
    found.statuses.update({200: good, 503: bad})
    found.seconds.extend([seconds] * (good + bad))
    return found


def test_failures_count_once_there_are_enough_answers() -> None:
    limits = Limits(error_rate=0.1)
    assert not limits.verdict(record(good=0, bad=19))
    assert limits.verdict(record(good=17, bad=3)) == (
        "3 of 20 requests failed, more than 0.1 of them"
    )
    assert not limits.verdict(record(good=18, bad=2))


def test_slow_answers_count() -> None:
    limits = Limits(p99_seconds=0.5)
    assert not limits.verdict(record(good=100, seconds=0.4))
    assert "took 0.6 s, more than 0.5 s" in limits.verdict(record(good=100, seconds=0.6))


def test_without_limits_nothing_is_judged() -> None:
    assert not Limits.of({}).verdict(record(good=0, bad=100, seconds=9.0))
