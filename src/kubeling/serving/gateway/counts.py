"""What the gateway counts of each service: answers by revision, and what is in flight.

A service or a revision that is gone takes its counts with it; a request that outlives them counts
on what nobody looks at any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.kube.clock import Clock
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Key, Obj, key_of, labels, namespace
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving import names
from kubeling.serving.demand import Demand
from kubeling.serving.observation import revision_of
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.traffic import RevisionRecord, TrafficRecord

__all__ = ["Counts"]

_RECENT_SECONDS: Final = 120


class Counts:
    """Records of answers, and demands, by service and revision."""

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._clock = clock
        self.records: dict[Key, TrafficRecord] = {}
        self.demands: dict[Key, dict[int, Demand]] = {}
        self._listeners: list[Callable[[Key], object]] = []
        informers.of(INFERENCE_SERVICES).add_handler(self._forget_service)
        informers.of(DEPLOYMENTS).add_handler(self._forget_revision)

    def on_forget(self, listener: Callable[[Key], object]) -> None:
        """Tells of services whose records and demands are no more those that they were."""
        self._listeners.append(listener)

    def demand(self, key: Key, number: int) -> Demand:
        """What is asked of a revision."""
        revisions = self.demands.setdefault(key, {})
        if number not in revisions:
            revisions[number] = Demand(self._clock.monotonic())
        return revisions[number]

    def record(self, key: Key, revision: str) -> RevisionRecord:
        """What a revision answered; counted from now on if it was not before."""
        service = self.records.get(key)
        if service is None:
            service = self.records[key] = TrafficRecord()
        found = service.revisions.get(revision)
        if found is None:
            found = RevisionRecord(clock=self._clock.monotonic)
            service.revisions[revision] = found
        return found

    def recorded(self, key: Key, revision: str) -> RevisionRecord:
        """What a revision answered so far, if anything."""
        service = self.records.get(key) or TrafficRecord()
        return service.revisions.get(revision) or RevisionRecord()

    def woken(self, key: Key) -> None:
        """Counts that a service was woken."""
        self.records.setdefault(key, TrafficRecord()).wakes += 1

    def forget(self, key: Key, revision: str) -> None:
        """Begins what is counted of a revision anew."""
        if record := self.records.get(key):
            record.revisions.pop(revision, None)
        self._tell(key)

    def to_json(self, key: Key) -> dict[str, Any]:
        """What was counted of a service."""
        record = self.records.get(key) or TrafficRecord()
        now = self._clock.monotonic()
        demand = {
            names.deployment_name(key.name, "predictor", number): {
                "in_flight": found.in_flight,
                "per_second": found.recent(now, _RECENT_SECONDS),
            }
            for number, found in self.demands.get(key, {}).items()
        }
        return {"revisions": record.to_json(), "demand": demand, "wakes": record.wakes}

    def _forget_service(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self.records.pop(key_of(old), None)
            self.demands.pop(key_of(old), None)
            self._tell(key_of(old))

    def _forget_revision(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None or old is None or labels(old).get(names.COMPONENT) != "predictor":
            return
        if isvc := labels(old).get(names.SERVICE):
            key, number = Key(namespace(old), isvc), revision_of(old)
            self.demands.get(key, {}).pop(number, None)
            self.forget(key, names.deployment_name(isvc, "predictor", number))

    def _tell(self, key: Key) -> None:
        for listener in self._listeners:
            listener(key)
