"""The server's metrics as Prometheus text, under upstream's names where it has them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

__all__ = ["Metrics"]

_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STAGES: Final = {
    "preprocess": "Time spent preparing a request",
    "predict": "Time spent answering a request",
    "postprocess": "Time spent preparing an answer",
    "explain": "Time spent explaining a prediction",
}


class Histogram:
    """Counts of durations below each bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Adds one duration."""
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """What the server counts: requests by model and code, and how long predictions took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, dict[str, Histogram]] = {stage: {} for stage in _STAGES}
        self.log_dropped = 0

    def request(self, model: str, code: int, seconds: float) -> None:
        """Counts one answered request."""
        self._requests[model, code] += 1
        self.stage(model, "predict", seconds)

    def stage(self, model: str, stage: str, seconds: float) -> None:
        """Counts one step of a request: ``preprocess``, ``postprocess`` or ``explain``."""
        found = self._seconds[stage]
        if model not in found:
            found[model] = Histogram()
        found[model].observe(seconds)

    def text(self) -> str:
        """The exposition format."""
        lines = []
        for stage, found in self._seconds.items():
            name = f"request_{stage}_seconds"
            lines += [f"# HELP {name} {_STAGES[stage]}", f"# TYPE {name} histogram"]
            for model, histogram in found.items():
                lines += _histogram(name, model, histogram)
        lines += [
            "# HELP kubeling_requests_total Predictions answered, by HTTP status",
            "# TYPE kubeling_requests_total counter",
        ]
        for (model, code), count in sorted(self._requests.items()):
            lines.append(f'kubeling_requests_total{{model_name="{model}",code="{code}"}} {count}')
        lines += [
            "# HELP kubeling_request_log_dropped_total Requests not recorded, as the log was full",
            "# TYPE kubeling_request_log_dropped_total counter",
            f"kubeling_request_log_dropped_total {self.log_dropped}",
        ]
        return "\n".join(lines) + "\n"


def _histogram(name: str, model: str, histogram: Histogram) -> list[str]:
    lines, total = [], 0
    for bound, count in zip([*map(str, _BOUNDS), "+Inf"], histogram.counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{model_name="{model}",le="{bound}"}} {total}')
    lines.append(f'{name}_sum{{model_name="{model}"}} {histogram.sum:.6f}')
    lines.append(f'{name}_count{{model_name="{model}"}} {total}')
    return lines
