"""What the inference gateway counted, for Prometheus: by service, revision and code.

The series are made at each scrape from what the gateway keeps anyway, so a request costs nothing
more, and a deleted service takes its series with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from kubeling.kube.objects import Key
from kubeling.monitoring.registry import Registry
from kubeling.serving.demand import Demand
from kubeling.serving.names import deployment_name
from kubeling.serving.traffic import RevisionRecord, TrafficRecord

__all__ = ["declare"]

_QUANTILES: Final = (0.5, 0.9, 0.99)

Series = Iterable[tuple[Mapping[str, str], float]]
OfRevision = Callable[[dict[str, str], RevisionRecord], Series]


def declare(
    registry: Registry,
    records: Mapping[Key, TrafficRecord],
    demands: Mapping[Key, Mapping[int, Demand]],
) -> None:
    """Adds the gateway's metrics to those of the platform."""

    def of_revisions(read: OfRevision) -> Callable[[], Series]:
        def collect() -> Iterator[tuple[Mapping[str, str], float]]:
            for key, record in records.items():
                for revision, one in record.revisions.items():
                    yield from read(_labels(key, revision), one)

        return collect

    def of_demands(read: Callable[[Demand], float]) -> Callable[[], Series]:
        def collect() -> Iterator[tuple[Mapping[str, str], float]]:
            for key, revisions in demands.items():
                for number, demand in revisions.items():
                    title = deployment_name(key.name, "predictor", number)
                    yield _labels(key, title), read(demand)

        return collect

    def wakes() -> Iterator[tuple[Mapping[str, str], float]]:
        for key, record in records.items():
            yield {"namespace": key.namespace, "inferenceservice": key.name}, record.wakes

    name = "kubeling_inference"
    registry.collect(
        f"{name}_requests_total", "Requests answered, by code.", "counter", of_revisions(_codes)
    )
    registry.collect(
        f"{name}_request_seconds_total",
        "Seconds that the answers took together.",
        "counter",
        of_revisions(lambda labels, one: [(labels, one.total_seconds)]),
    )
    registry.collect(
        f"{name}_request_seconds",
        "Seconds that recent answers took, by quantile.",
        "gauge",
        of_revisions(_durations),
    )
    registry.collect(
        f"{name}_requests_in_flight",
        "Requests being answered or held.",
        "gauge",
        of_demands(lambda demand: demand.in_flight),
    )
    registry.collect(
        f"{name}_requests_waiting",
        "Requests held until a pod has started, or has room.",
        "gauge",
        of_demands(lambda demand: demand.waiting),
    )
    registry.collect(
        f"{name}_wakes_total", "How often a service at rest was woken.", "counter", wakes
    )


def _labels(key: Key, revision: str) -> dict[str, str]:
    return {"namespace": key.namespace, "inferenceservice": key.name, "revision": revision}


def _codes(labels: dict[str, str], record: RevisionRecord) -> Series:
    return [({**labels, "code": str(code)}, n) for code, n in sorted(record.statuses.items())]


def _durations(labels: dict[str, str], record: RevisionRecord) -> Series:
    for share in _QUANTILES:
        seconds = record.quantile(share)
        if seconds is not None:
            yield {**labels, "quantile": f"{share:g}"}, seconds
