"""The short way of a prediction, from a body to a response, without a task.

Which model and which protocol a path means is worked out once. Bodies are decoded as they come, so
that one that cannot be read is nobody else's matter; what one turn of the loop brought is handed to
the model together. What a lane leaves (it says false), and every other request, takes the way of
:class:`~.app.ModelApp`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from kubeling.serving.server import bodies, cloudevents
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.http import Request, Response, error_response
from kubeling.serving.server.quick import Asked, QuickModel
from kubeling.serving.server.turn import Turn

__all__ = ["Lanes"]

_WAYS: Final = (
    ("/v1/models/", ":predict", bodies.from_v1),
    ("/v2/models/", "/infer", bodies.from_v2),
)

Decode = Callable[[Request, str], Any]
Answer = Callable[[Response], None]


class Lanes:
    """Answers predictions of quick models; the paths of others are asked for again each time."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._known: dict[str, _Lane] = {}

    def __call__(self, request: Request, answer: Answer) -> bool:
        """Takes a request, or says that it needs a task."""
        lane = self._known.get(request.path) or self._found(request.path)
        return lane is not None and request.method == "POST" and lane.take(request, answer)

    def _found(self, path: str) -> _Lane | None:
        for start, end, decode in _WAYS:
            if path.startswith(start) and path.endswith(end):
                name = path[len(start) : -len(end)]
                if self._plane.quick_model(name) is None:
                    return None
                return self._known.setdefault(path, _Lane(self._plane, name, decode))
        return None


class _Lane:
    """The requests to one model over one protocol that were read in this turn of the loop."""

    def __init__(self, plane: DataPlane, name: str, decode: Decode) -> None:
        self._plane = plane
        self._name = name
        self._decode = decode
        # To ask which loop runs is a system call in Python 3.11.
        self._soon = asyncio.get_running_loop().call_soon
        self._asked: list[Asked] = []
        self._model: QuickModel | None = None

    def take(self, request: Request, answer: Answer) -> bool:
        if not self._asked:
            self._model = self._plane.quick_model(self._name)
        if self._model is None:
            return False
        try:
            payload = self._decode(request, self._name)
        except InvalidInput:
            # Said, counted and recorded where all refusals are.
            return False
        if cloudevents.event_of(payload, request.headers) is not None:
            return False
        self._asked.append(Asked(payload, request.headers, answer))
        if len(self._asked) == 1:
            self._soon(self._hand_over)
        return True

    def _hand_over(self) -> None:
        asked, self._asked = self._asked, []
        assert self._model is not None
        Turn(self._plane, self._model, asked, _reply).start()


def _reply(asked: Asked, found: Any, error: BaseException | None) -> None:
    asked.answer(_response(found) if error is None else error_response(error))


def _response(found: Any) -> Response:
    try:
        return bodies.of_answer(found)
    except Exception as error:
        # What a model answered may be no JSON; a callback has nobody to raise to.
        return error_response(error)
