"""What one turn of the event loop brought for a model, answered together.

Most of what a request to a small model costs is on either side of the prediction: reading rows,
counting, timing, calling back through every layer. A model that takes several requests at once has
that done once for all of them; what goes wrong, or is of another kind, is asked one by one, so that
everybody gets the answer that they would have got alone.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from kubeling.serving.server.dataplane import DataPlane, response_of, serving_error
from kubeling.serving.server.infer_types import InferRequest
from kubeling.serving.server.quick import Asked, QuickModel

__all__ = ["Turn"]

Reply = Callable[[Asked, Any, BaseException | None], None]
"""Takes the answer to a request, or why there is none; never raises."""


class Turn:
    """Bodies of V1 or requests of V2, counted and recorded as the data plane does it."""

    def __init__(
        self, plane: DataPlane, model: QuickModel, asked: Sequence[Asked], reply: Reply
    ) -> None:
        self._plane = plane
        self._model = model
        self._asked = asked
        self._reply = reply
        self._started = time.perf_counter()

    def start(self) -> None:
        """Asks the model; each request is replied to once, now or later."""
        payloads = [one.payload for one in self._asked]
        if isinstance(payloads[0], InferRequest):
            version = self._plane.repository.version_of(self._model.name) or None
            for payload in payloads:
                payload.model_version = version
        try:
            taken = self._model.answer_all(payloads, self._all_done)
        except Exception:
            # Each is to hear of what is wrong with its own.
            taken = False
        if not taken:
            self._one_by_one()

    def _one_by_one(self) -> None:
        for one in self._asked:
            try:
                self._model.answer(one.payload, functools.partial(self._done, one))
            except Exception as error:
                # What a model raises is its caller's to know.
                self._done(one, None, error)

    def _all_done(self, found: Sequence[Any], error: BaseException | None) -> None:
        if len(self._asked) > 1 and isinstance(error, Exception):
            self._one_by_one()
            return
        if error is not None:
            for one in self._asked:
                self._done(one, None, error)
            return
        plane, name = self._plane, self._model.name
        if plane.sampler is not None or plane.request_log is not None:
            for one, answer in zip(self._asked, found, strict=True):
                self._done(one, answer, None)
            return
        seconds = time.perf_counter() - self._started
        plane.metrics.request(name, 200, seconds, len(self._asked))
        for one, answer in zip(self._asked, found, strict=True):
            self._reply(one, answer, None)

    def _done(self, one: Asked, found: Any, error: BaseException | None) -> None:
        plane, model, payload = self._plane, self._model, one.payload
        if error is None and isinstance(payload, InferRequest):
            try:
                found = response_of(model, payload, found)
            except Exception as unformed:
                # Whoever else was in the batch has to be answered all the same.
                error = unformed
        if error is not None:
            error = serving_error(model, "predict", error)
            found, status = {"error": str(error)}, error.http_status
        else:
            status = 200
            if plane.sampler is not None:
                plane.sampler.saw(payload, found, one.headers)
        plane.done(model, status, self._started, payload, found, one.headers)
        self._reply(one, found, error)
