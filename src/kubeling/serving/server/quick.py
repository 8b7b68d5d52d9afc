"""Models that answer through a callback, so that a request to them costs no task.

A task, a future and the coroutines of every layer cost as much as predicting a row of a small model
in a batch does. A model of this kind is handed a request and what to call with its answer; whoever
awaits ``predict`` gets the same through a future. Requests that arrived together may be handed over
together, so that what lies between a body and a row is done once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.monitoring.tracing import current_span
from kubeling.serving.server.model import Headers, Model
from kubeling.serving.server.prediction_times import add_prediction

if TYPE_CHECKING:
    from kubeling.serving.server.batching import Batcher, Runner

__all__ = ["AllDone", "Asked", "Done", "QuickModel", "is_plain"]

Done = Callable[[Any, BaseException | None], None]
"""Takes an answer, or why there is none; never raises."""

AllDone = Callable[[Sequence[Any], BaseException | None], None]
"""Takes the answers to several requests in their order, or why there are none; never raises."""

_STEPS: Final = ("preprocess", "validate", "predict", "postprocess", "healthy")
_plain: dict[type[QuickModel], bool] = {}


class Asked(msgspec.Struct, gc=False):
    """A request whose body was read, and what takes its answer."""

    payload: Any
    headers: Mapping[str, str]
    answer: Callable[[Any], None]


class QuickModel(Model):
    """Override :meth:`answer` instead of ``predict``, and :meth:`answer_all` where that pays."""

    runner: Runner | None = None
    """What predicts, on the event loop or in a thread."""

    def answer(self, payload: Any, done: Done) -> None:
        """Calls ``done`` once, now or later, or raises."""
        raise NotImplementedError

    def answer_all(self, payloads: Sequence[Any], done: AllDone) -> bool:
        """Calls ``done`` once, now or later, with what :meth:`answer` would give for each; or says
        that it does not take these together. An error is that of one of them.
        """
        return False

    @property
    def batches(self) -> Batcher | None:
        """What makes one prediction of several requests, if something does."""
        return None

    async def predict(
        self,
        payload: Any,
        headers: Headers | None = None,
        response_headers: Headers | None = None,
    ) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        span = current_span.get()

        def done(found: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if span is not None:
                add_prediction(span, within=True)
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        self.answer(payload, done)
        return await future


def is_plain(model: QuickModel) -> bool:
    """Whether nothing but ``answer`` has a part in answering."""
    kind = type(model)
    if kind not in _plain:
        _plain[kind] = all(getattr(kind, s) is getattr(QuickModel, s) for s in _STEPS)
    return _plain[kind]
