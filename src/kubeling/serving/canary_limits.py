"""What a canary may do before it is rolled back, as annotations of its service say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.serving.names import ROLLBACK_DRIFT, ROLLBACK_ERROR_RATE, ROLLBACK_P99
from kubeling.serving.traffic import RevisionRecord

__all__ = ["Limits", "validate_limits"]

_ENOUGH: Final = 20
"""Fewer answers than these are no evidence."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a canary may do; ``None`` is no limit."""

    error_rate: float | None = None
    p99_seconds: float | None = None
    drift: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, str]) -> Limits:
        """The limits in a service's annotations; raises :class:`ValueError`."""
        rate, p99 = found.get(ROLLBACK_ERROR_RATE), found.get(ROLLBACK_P99)
        drift = found.get(ROLLBACK_DRIFT)
        return cls(
            None if rate is None else _share(rate),
            None if p99 is None else parse_duration(p99),
            None if drift is None else _index(drift),
        )

    def verdict(self, record: RevisionRecord) -> str:
        """Why a canary is rejected, or nothing."""
        if record.requests < _ENOUGH:
            return ""
        rate, p99 = record.errors / record.requests, record.quantile(0.99)
        if self.error_rate is not None and rate > self.error_rate:
            return (
                f"{record.errors} of {record.requests} requests failed, more than "
                f"{self.error_rate:.4g} of them"
            )
        if self.p99_seconds is not None and p99 is not None and p99 > self.p99_seconds:
            return f"one answer in a hundred took {p99:.3g} s, more than {self.p99_seconds:.3g} s"
        return ""

    def drifted(self, stable: str, found: Mapping[str, Any] | None) -> str:
        """Why a canary is rejected for what it answers, or nothing.

        ``found`` compares its answers with those of the stable revision, if that is known.
        """
        if self.drift is None or not found or not found.get("drift"):
            return ""
        if "psi" not in found:
            return f"its answers differ from those of {stable}: {found['message']}"
        return (
            f"its answers differ from those of {stable}: population stability index "
            f"{found['psi']:.3g}, more than {self.drift:.3g}"
        )


def validate_limits(found: Mapping[str, Any]) -> Iterator[FieldError]:
    """Names the annotations that cannot be read."""
    for key, example in (
        (ROLLBACK_ERROR_RATE, "0.05 or 5%"),
        (ROLLBACK_P99, "500ms"),
        (ROLLBACK_DRIFT, "0.2, the usual limit of a population stability index"),
    ):
        if key in found:
            try:
                Limits.of({key: str(found[key])})
            except ValueError:
                yield FieldError(
                    f"metadata.annotations[{key}]", "Invalid value", f"e.g. {example}", found[key]
                )


def _index(text: str) -> float:
    index = float(text)
    if not 0 < index < 100:
        raise ValueError(text)
    return index


def _share(text: str) -> float:
    share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share
