"""The server's metrics as Prometheus text, under upstream's names where it has them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from kubeling.serving.requestlog.record import Counts

__all__ = ["Histogram", "Metrics"]

_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STAGES: Final = {
    "preprocess": "Time spent preparing a request",
    "predict": "Time spent answering a request",
    "postprocess": "Time spent preparing an answer",
    "explain": "Time spent explaining a prediction",
}


_HELD: Final = 4096


class Histogram:
    """Counts of durations, or sizes, by the bound they keep within.

    They are kept as they come and sorted in many at a time: an entry of a list is what a request
    pays.
    """

    def __init__(self, bounds: Sequence[float] = _BOUNDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._held: list[float] = []

    def observe(self, value: float, times: int = 1) -> None:
        """Adds one that there was once, or several times."""
        self._held += (value,) * times
        if len(self._held) >= _HELD:
            self._sort()

    def lines(self, name: str, model: str) -> list[str]:
        """As Prometheus text."""
        self._sort()
        totals = list(accumulate(self._counts))
        shown = [
            f'{name}_bucket{{model_name="{model}",le="{bound}"}} {total}'
            for bound, total in zip([*map(str, self._bounds), "+Inf"], totals, strict=True)
        ]
        shown.append(f'{name}_sum{{model_name="{model}"}} {self._sum:.6f}')
        shown.append(f'{name}_count{{model_name="{model}"}} {totals[-1]}')
        return shown

    def _sort(self) -> None:
        held, self._held = sorted(self._held), []
        below = 0
        for place, bound in enumerate(self._bounds):
            found = bisect_right(held, bound, below)
            self._counts[place] += found - below
            below = found
        self._counts[-1] += len(held) - below
        self._sum += sum(held)


class Metrics:
    """What the server counts: requests by model and code, and how long predictions took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, dict[str, Histogram]] = {stage: {} for stage in _STAGES}
        self.log = Counts()

    def request(self, model: str, code: int, seconds: float, times: int = 1) -> None:
        """Counts an answered request, or several that were answered together."""
        self._requests[model, code] += times
        self.stage(model, "predict", seconds, times)

    def stage(self, model: str, stage: str, seconds: float, times: int = 1) -> None:
        """Counts one step of a request: ``preprocess``, ``postprocess`` or ``explain``."""
        found = self._seconds[stage]
        if model not in found:
            found[model] = Histogram()
        found[model].observe(seconds, times)

    def text(self) -> str:
        """The exposition format."""
        lines = []
        for stage, found in self._seconds.items():
            name = f"request_{stage}_seconds"
            lines += [f"# HELP {name} {_STAGES[stage]}", f"# TYPE {name} histogram"]
            for model, histogram in found.items():
                lines += histogram.lines(name, model)
        lines += [
            "# HELP kubeling_requests_total Predictions answered, by HTTP status",
            "# TYPE kubeling_requests_total counter",
        ]
        for (model, code), count in sorted(self._requests.items()):
            lines.append(f'kubeling_requests_total{{model_name="{model}",code="{code}"}} {count}')
        lines += self.log.text()
        return "\n".join(lines) + "\n"
