"""A model in ONNX Runtime that answers in another's place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.conversion.proof import Answer, equal
from kubeling.serving.server.formats import library, threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["WATCHED", "Twin", "open_session"]

log = logging.getLogger(__name__)

WATCHED: Final = 256
"""How many rows of clients are predicted by both."""
_QUIET: Final = 3
_LARGEST_SQUARE: Final = float(np.finfo(np.float32).max) ** 2


def open_session(raw: bytes) -> Any:
    """The file in ONNX Runtime."""
    onnxruntime = library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = _QUIET
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


class Twin:
    """Predicts rows; rows that ONNX would take for others go to the original.

    Those are rows with text, and with values missing or too large for 32 bits, which the libraries
    refuse or treat in ways of their own. The first rows are predicted by both, and answered by the
    original; at the first difference the twin is given up. ``told`` is called once with how that
    ended: whether all were alike.
    """

    def __init__(
        self,
        session: Any,
        answer: Answer,
        original: Callable[[Array], Array],
        told: Callable[[bool], None],
        watched: int = 0,
    ) -> None:
        # The session proper: what is around it asks after GPUs, input by input, at every run.
        self._compute = getattr(session, "_sess", session).run
        self._input = session.get_inputs()[0].name
        self._answer = answer
        self._outputs = [answer.output]
        self._original = original
        self._told = told
        self.watched = watched
        self.given_up = False

    def predict(self, rows: Array) -> Array:
        """One result a row."""
        fed = None if self.given_up else _fed(rows)
        if fed is None:
            return np.asarray(self._original(rows))
        if self.watched < WATCHED:
            return self._compared(rows, fed)
        return self._run(fed)

    def _compared(self, rows: Array, fed: Array) -> Array:
        wanted = np.asarray(self._original(rows))
        self.watched += len(rows)
        if not equal(self._run(fed), wanted):
            self.given_up = True
            log.warning("a request was answered otherwise by the model in ONNX: given up")
            self._told(False)
        elif self.watched >= WATCHED:
            self._told(True)
        return wanted

    def _run(self, fed: Array) -> Array:
        found: Array = self._compute(self._outputs, {self._input: fed}, None)[0]
        return self._answer.of(found)


def _fed(rows: Array) -> Array | None:
    kind = rows.dtype.kind
    if rows.ndim != 2 or kind not in "biuf":
        return None
    if rows.dtype == np.float64:
        # No number is too large if their squares together are not; a missing one compares as false.
        fits = bool(np.vdot(rows, rows) < _LARGEST_SQUARE)
    else:
        fits = kind != "f" or bool(np.isfinite(rows).all())
    return rows.astype(np.float32, copy=False) if fits else None
