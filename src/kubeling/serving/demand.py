"""What is asked of a revision, and how many pods that takes.

The gateway counts requests as they come and go; averages over a long and a short window decide, as
in Knative's autoscaler: the long one keeps pods through short pauses, and the short one answers a
burst, during which no pod is taken away. Time is given by the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from kubeling.serving.scaling import ScalingPolicy

__all__ = ["Demand"]

_PANIC_SHARE: Final = 0.1
_PANIC_THRESHOLD: Final = 2.0
_LONGEST: Final = 3600


@dataclass
class _Second:
    number: int
    busy: float = 0.0
    requests: int = 0


@dataclass
class Demand:
    """The requests of one revision: those in flight, and those of the past, second by second."""

    since: float
    in_flight: int = 0
    waiting: int = 0
    """Those in flight that no pod has yet."""
    _last: float = field(init=False)
    _used: float = field(init=False)
    _panic_until: float = 0.0
    _past: deque[_Second] = field(default_factory=lambda: deque(maxlen=_LONGEST))

    def __post_init__(self) -> None:
        self._last = self._used = self.since

    def started(self, now: float) -> None:
        """A request is taken up by a pod."""
        self.held(now)
        self._second(int(now)).requests += 1

    def held(self, now: float) -> None:
        """A request waits for a pod, or for a place at one."""
        self._advance(now)
        self.in_flight += 1
        self._used = now

    def finished(self, now: float) -> None:
        """A request was answered, given up, or waits no more."""
        self._advance(now)
        self.in_flight -= 1
        self._used = now

    def idle(self, now: float) -> float:
        """For how long nothing was asked."""
        return 0.0 if self.in_flight else now - self._used

    def recent(self, now: float, seconds: int) -> list[int]:
        """The requests of each of the last full seconds, the latest last."""
        first = int(now) - seconds
        found = [0] * seconds
        for second in self._past:
            if first <= second.number < first + seconds:
                found[second.number - first] = second.requests
        return found

    def replicas(self, policy: ScalingPolicy, current: int, now: float) -> int:
        """How many pods are needed; 0 if the component may go to rest."""
        if policy.rests and self.idle(now) >= policy.window + policy.retention:
            return 0
        if policy.by != "gateway":
            return policy.within(current)
        steady = self._needed(policy, policy.window, now)
        burst = self._needed(policy, max(1.0, policy.window * _PANIC_SHARE), now)
        if burst >= _PANIC_THRESHOLD * max(1, current):
            self._panic_until = now + policy.window
        if now < self._panic_until:
            return policy.within(max(steady, burst, current))
        return policy.within(max(steady, current // 2))

    def _needed(self, policy: ScalingPolicy, window: float, now: float) -> int:
        self._advance(now)
        first = int(now - window)
        past = [second for second in self._past if second.number >= first]
        seconds = max(1.0, now - max(float(first), self.since))
        total = sum(s.busy if policy.metric == "concurrency" else s.requests for s in past)
        return ceil(round(total / seconds / policy.target, 6))

    def _advance(self, now: float) -> None:
        """Counts the time that the requests in flight have taken since the last look."""
        while self._last < now:
            end = min(now, float(int(self._last) + 1))
            if self.in_flight:
                self._second(int(self._last)).busy += self.in_flight * (end - self._last)
                self._last = end
            else:
                self._last = now

    def _second(self, number: int) -> _Second:
        if not self._past or self._past[-1].number != number:
            self._past.append(_Second(number))
        return self._past[-1]
