"""What a server shows the platform of what it was asked: a sample, and what was said of it later.

Drift is judged elsewhere, so that a request costs a model no more than a count: every so manieth is
kept until the platform fetches it, and how manieth follows from how many there were since it last
did. What is kept is bounded, whether anybody fetches it or not. Requests that carry an id are known
by it for a while, so that whoever learns the truth can say it (``:feedback``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kubeling.serving.drift.records import named_rows, predictions_of, tensor_rows
from kubeling.serving.server.errors import InvalidInput, ServingError
from kubeling.serving.server.infer_types import InferRequest, InferResponse

__all__ = ["Feedback", "Sample", "Sampler", "Samples", "WantedAnswers", "came_through_a_gateway"]

_REQUESTS: Final = 256
"""How many requests are kept between two looks."""
_ROWS: Final = 64
_WIDEST: Final = 512
"""Features of a row; wider ones are pictures or signals, of which only the answers are watched."""
_VALUES: Final = 500_000
"""How many values are kept of all sampled rows, and of the answers of half the ids known."""
_LONGEST_TEXT: Final = 256
_KNOWN: Final = 10_000
_FEEDBACK: Final = 2000
_LONGEST_ID: Final = 256


class Sample(msgspec.Struct, omit_defaults=True):
    """One request: the names of its features, if it had them, its rows, and its predictions."""

    names: list[str] = []
    rows: list[list[Any]] = []
    predictions: list[Any] = []
    id: str = ""


class Feedback(msgspec.Struct, omit_defaults=True):
    """What was true of a request; its ``predictions`` if this server still knows them."""

    id: str
    label: Any = None
    labels: list[Any] | None = None
    predictions: list[Any] | None = None

    @property
    def truths(self) -> list[Any]:
        """A label for each row."""
        return [self.label] if self.labels is None else self.labels


class WantedAnswers(msgspec.Struct, omit_defaults=True):
    """What the platform asks with: the ids that other servers were told of, and do not know."""

    answers: list[str] = []


class Samples(msgspec.Struct, omit_defaults=True):
    """What there is since the last look."""

    requests: int = 0
    unreadable: int = 0
    samples: list[Sample] = []
    feedback: list[Feedback] = []
    answers: dict[str, list[Any]] = {}
    features: list[str] = []
    """What the model calls the values of a row; most requests do not say."""


class Sampler:
    """Keeps the sample of one server. ``saw`` never raises."""

    def __init__(self, profile: Path | None = None) -> None:
        """``profile`` is where the model's reference profile is kept, if it is."""
        self._profile = profile
        self._every = 1
        self._seen = 0
        self._unreadable = 0
        self._taken: list[Sample] = []
        self._values = 0
        self._feedback: list[Feedback] = []
        self._recent: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        self._weight = 0

    def saw(self, payload: Any, answer: Any, headers: Mapping[str, str]) -> None:
        """Takes note of an answered request."""
        self._seen += 1
        given = headers.get("x-request-id") or headers.get("ce-id") or ""
        if not given and isinstance(payload, InferRequest):
            given = payload.id or ""
        if given:
            self._remember(given, answer)
        if self._seen % self._every == 0 and len(self._taken) < _REQUESTS:
            self._take(payload, answer, given)

    def profile(self) -> bytes | None:
        """The reference profile as it was kept."""
        try:
            return None if self._profile is None else self._profile.read_bytes()
        except OSError:
            return None

    def told(self, body: Any) -> int:
        """Takes what was true of earlier requests; raises :class:`ServingError`."""
        entries = _feedback_of(body)
        if len(self._feedback) + len(entries) > _FEEDBACK:
            raise _TooMuch("more feedback than was fetched; try again in some seconds")
        for entry in entries:
            if entry.predictions is None:
                entry.predictions = self._predictions(entry.id)
        self._feedback += entries
        return len(entries)

    def look(self, wanted: Sequence[str] = ()) -> Samples:
        """What there is since the last look; the next sample is spread by how much there was."""
        found = Samples(self._seen, self._unreadable, self._taken, self._feedback)
        self._every = max(1, -(-self._seen // _REQUESTS))
        self._seen = self._unreadable = self._values = 0
        self._taken, self._feedback = [], []
        for title in wanted:
            if (predictions := self._predictions(title)) is not None:
                found.answers[title] = predictions
        return found

    def _take(self, payload: Any, answer: Any, given: str) -> None:
        """Keeps of a request what is shown of it: the whole of it may be large."""
        try:
            sample = _sample(payload, answer, given)
        except Exception:
            # A request may be anything that its model takes.
            self._unreadable += 1
            return
        self._values += sum(map(len, sample.rows))
        if self._values > _VALUES:
            sample.names, sample.rows = [], []
        self._taken.append(sample)

    def _remember(self, given: str, answer: Any) -> None:
        weight = _weight(answer)
        if len(given) > _LONGEST_ID or not weight:
            return
        if len(self._recent) >= _KNOWN or self._weight >= _VALUES:
            self._before, self._recent, self._weight = self._recent, {}, 0
        self._recent[given] = answer
        self._weight += weight

    def _predictions(self, given: str) -> list[Any] | None:
        answer = self._recent.get(given)
        if answer is None:
            answer = self._before.get(given)
        return None if answer is None else predictions_of(_plain(answer))


class _TooMuch(ServingError):
    """More than is kept."""

    http_status = 503


def came_through_a_gateway(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from outside: gateways say for whom they ask."""
    return any(name in headers for name in ("x-forwarded-for", "x-forwarded-host"))


def _sample(payload: Any, answer: Any, given: str) -> Sample:
    if isinstance(payload, InferRequest):
        found = [(t.name, t.as_numpy()[:_ROWS]) for t in payload.inputs]
        arrays = [(name, array, array.shape) for name, array in found]
        names, rows = tensor_rows(arrays) if _width(arrays) <= _WIDEST else ([], [])
    else:
        names, rows = named_rows(_plain(payload))
    rows = rows[:_ROWS]
    if rows and (len(rows[0]) > _WIDEST or any(isinstance(v, list | dict) for v in rows[0])):
        rows = []
    rows = [[_text(value) for value in row] for row in rows]
    predictions = [_text(value) for value in predictions_of(_plain(answer))[:_ROWS]]
    return Sample(names, rows, predictions, given)


def _width(arrays: list[tuple[Any, Any, tuple[int, ...]]]) -> int:
    return sum(array.size // max(1, shape[0]) for _, array, shape in arrays)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value[: 4 * _LONGEST_TEXT].decode(errors="replace")
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, InferRequest | InferResponse):
        return _tensors(value) if isinstance(value, InferResponse) else value.to_dict()
    return msgspec.json.decode(value) if isinstance(value, bytes) else value


def _tensors(answer: InferResponse) -> dict[str, Any]:
    first = answer.outputs[0]
    array = first.as_numpy()
    array = array[:_ROWS] if array.ndim else array
    data = [_text(value) for value in array.ravel().tolist()]
    return {"outputs": [{"data": data, "shape": list(array.shape)}]}


def _weight(answer: Any) -> int:
    """About how many values an answer holds; 0 for one that is not kept for later."""
    if isinstance(answer, InferResponse):
        shapes = [output.shape for output in answer.outputs]
        kept = bool(shapes) and bool(shapes[0]) and shapes[0][0] <= _ROWS
        return sum(map(math.prod, shapes)) if kept else 0
    if isinstance(answer, bytes):
        return len(answer) if len(answer) <= 4096 else 0
    found = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not 0 < len(found) <= _ROWS:
        return 0
    return len(found) * (len(found[0]) if isinstance(found[0], list | str) else 1)


def _feedback_of(body: Any) -> list[Feedback]:
    listed = body.get("feedback", [body]) if isinstance(body, dict) else body
    try:
        entries = msgspec.convert(listed, list[Feedback])
    except msgspec.ValidationError as error:
        raise InvalidInput(f'expected {{"id": …, "label": …}}: {error}') from None
    for entry in entries:
        if not entry.id or (entry.label is None) == (entry.labels is None):
            raise InvalidInput(
                'every feedback needs the "id" of its request, and "label", or "labels" for '
                "several rows"
            )
    return entries
