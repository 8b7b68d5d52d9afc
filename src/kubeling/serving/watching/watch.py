"""What is known of one revision: its reference, its recent rows, and what follows from them.

A reference is looked for where the model was registered, then beside its files; without one, the
first rows that a revision is asked about become it, so that drift since then is seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from kubeling.serving.drift.profile import Profile
from kubeling.serving.drift.report import Thresholds
from kubeling.serving.drift.window import Window
from kubeling.serving.server.sampling import Feedback, Sample, Samples
from kubeling.serving.watching.detectors import Detectors
from kubeling.serving.watching.quality import Quality, QualityState
from kubeling.serving.watching.settings import MonitoringSettings

__all__ = ["Watch", "WatchState"]

_LEARNT: Final = 1000
_ENOUGH: Final = 100
"""Different rows without which there is no verdict: it is asked for again and again."""
_AS_RECENT: Final = 500
_KNOWN: Final = 10_000
_TRIES: Final = 3
_SAVED: Final = 100_000
"""Values that are saved; what is compared after a restart is as much as before, if it can be."""


class WatchState(msgspec.Struct, omit_defaults=True):
    """What outlives a restart. The detectors are fed again from the rows."""

    reference: Profile | None = None
    source: str = ""
    names: list[str] = []
    rows: list[list[Any]] = []
    predictions: list[Any] = []
    requests: int = 0
    unreadable: int = 0
    quality: QualityState = msgspec.field(default_factory=QualityState)
    changes: dict[str, dict[str, Any]] = {}
    positive: int = 0


class Watch:
    """One revision. Its methods take their time, and belong in a thread; never two at once."""

    def __init__(
        self,
        settings: MonitoringSettings,
        now: Callable[[], str],
        state: WatchState | None = None,
    ) -> None:
        self.settings = settings
        known = state or WatchState()
        self.reference, self.source, self._names = known.reference, known.source, known.names
        self.requests, self.unreadable = known.requests, known.unreadable
        self._features: list[str] = []
        self._window = Window(settings.window)
        self._window.add(known.rows, known.predictions)
        self._quality = Quality(known.quality)
        self._detectors = Detectors(now)
        self._replay(known)
        self._answers: OrderedDict[str, list[Any]] = OrderedDict()
        self._pending: dict[str, tuple[list[Any], int]] = {}
        self.report: dict[str, Any] = {}
        self.positive = known.positive
        """How many verdicts in a row said drift."""
        self.changed = False
        """Whether anything came since the last verdict."""

    @property
    def wanted(self) -> list[str]:
        """Ids that feedback named, whose answers no server has shown yet."""
        return list(self._pending)

    def take(self, found: Samples) -> None:
        """Takes what a server showed."""
        self.requests += found.requests
        self.unreadable += found.unreadable
        self._features = found.features or self._features
        for sample in found.samples:
            self._sample(sample)
        for feedback in found.feedback:
            self._feedback(feedback)
        for title, predictions in found.answers.items():
            if (waiting := self._pending.pop(title, None)) is not None:
                self._judge(predictions, waiting[0])
        self.changed = self.changed or bool(found.requests or found.feedback or found.answers)

    def follow(self, settings: MonitoringSettings) -> None:
        """Goes by these settings from now on."""
        if settings != self.settings:
            self.settings = settings
            self._window.resize(settings.window)
            self.changed = True

    def refer_to(self, reference: Profile, source: str) -> None:
        """Compares with this profile from now on."""
        self.reference, self.source = reference, source
        self.changed = True

    def assess(self) -> None:
        """Makes the report anew."""
        self._give_up()
        self.changed = False
        if self.reference is None and len(self._window.rows) >= self._learnt:
            self.refer_to(self._window.profile(self._titles), f"the first {self._learnt} rows")
        found = self._compared()
        enough = found.get("evidence", 0) >= _ENOUGH
        found["drift"] = bool(found["drift"]) and enough
        found["enough"] = enough and self.reference is not None
        self.positive = self.positive + 1 if found["drift"] else 0
        self.report = {
            **self._counts(),
            **found,
            "online": dict(self._detectors.changes),
            "outliers": self._detectors.outliers(),
            "quality": self._quality.report(),
        }
        if not self._detectors.available:
            self.report["without"] = "online detectors and outlier scores: pip install river"

    def against(self, other: Watch, psi: float) -> dict[str, Any] | None:
        """How its answers compare with another revision's over the same time, if that is known."""
        # Copied first: another thread may be adding to them.
        mine = list(self._window.predictions)
        # What the other one answered before this one began may have been asked otherwise.
        theirs = list(other._window.predictions)[-max(_AS_RECENT, len(mine)) :]
        if min(len(mine), len(theirs)) < _ENOUGH:
            return None
        reference = Window(len(theirs))
        reference.add((), theirs)
        answers = Window(len(mine))
        answers.add((), mine)
        found = answers.compare(
            Profile({}, reference.profile().predictions), Thresholds(psi, self.settings.p_value)
        )
        predictions: dict[str, Any] = found["predictions"]
        return predictions

    def state(self) -> WatchState:
        """What to save."""
        rows = list(self._window.rows)
        width = len(rows[0]) if rows else 1
        return WatchState(
            self.reference,
            self.source,
            self._names,
            [list(row) for row in rows[-max(100, _SAVED // width) :]],
            list(self._window.predictions),
            self.requests,
            self.unreadable,
            self._quality.state,
            self._detectors.changes,
            self.positive,
        )

    @property
    def _titles(self) -> list[str]:
        """What the values of a row are called: by requests, or else by the model."""
        width = len(self._window.rows[-1])
        return self._names or (self._features if len(self._features) == width else [])

    @property
    def _learnt(self) -> int:
        return min(_LEARNT, self._window.rows.maxlen or _LEARNT)

    def _replay(self, known: WatchState) -> None:
        self._detectors.rows(known.rows, self.reference)
        self._detectors.predictions(known.predictions)
        # What they found now, they had found before.
        self._detectors.changes = dict(known.changes)

    def _sample(self, sample: Sample) -> None:
        rows: Sequence[Sequence[Any]] = sample.rows
        if sample.names:
            rows = self._in_order(sample.names, sample.rows)
        self._window.add(rows, sample.predictions)
        self._detectors.rows(rows, self.reference)
        self._detectors.predictions(sample.predictions)
        if sample.id and sample.predictions:
            self._answers[sample.id] = sample.predictions
            if len(self._answers) > _KNOWN:
                self._answers.popitem(last=False)

    def _in_order(self, names: list[str], rows: list[list[Any]]) -> list[list[Any]]:
        """Rows with the features in the reference's order, or in the first request's."""
        wanted = list(self.reference.features) if self.reference else self._names
        if not wanted:
            self._names = wanted = names
        if names == wanted or not set(names) & set(wanted):
            return rows
        places = [names.index(title) if title in names else None for title in wanted]
        return [[None if place is None else row[place] for place in places] for row in rows]

    def _feedback(self, told: Feedback) -> None:
        predictions = told.predictions
        if predictions is None:
            predictions = self._answers.get(told.id)
        if predictions is not None:
            self._judge(predictions, told.truths)
        elif len(self._pending) < _KNOWN:
            self._pending[told.id] = told.truths, 0

    def _judge(self, predictions: Iterable[Any], truths: Iterable[Any]) -> None:
        self._detectors.errors(self._quality.add(predictions, truths))

    def _give_up(self) -> None:
        """Labels of requests that no server knows count as unknown after some looks."""
        tried = {title: (truths, tries + 1) for title, (truths, tries) in self._pending.items()}
        self._pending = {title: entry for title, entry in tried.items() if entry[1] < _TRIES}
        self._quality.unknown(len(tried) - len(self._pending))

    def _compared(self) -> dict[str, Any]:
        if self.reference is None:
            left = self._learnt - len(self._window.rows)
            message = f"there is no reference profile; {left} more rows make one"
            return {"drift": False, "features": {}, "message": message}
        limits = Thresholds(self.settings.psi, self.settings.p_value)
        try:
            return self._window.compare(self.reference, limits)
        except ValueError as error:
            return {"drift": False, "features": {}, "message": str(error)}

    def _counts(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "window": len(self._window.rows) or len(self._window.predictions),
            "unreadable": self.unreadable,
            "reference": self.source,
        }
