"""The short way of a prediction, from a body to a response, without a task.

Which model and which protocol a path means is worked out once; each request then decodes its body,
hands it to the model with a callback and is encoded when that is called. What a lane leaves (it
says false), and every other request, takes the way of :class:`~.app.ModelApp`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.serving.server import bodies, cloudevents
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.http import Request, Response, error_response

__all__ = ["Lanes"]

_WAYS: Final = (
    ("/v1/models/", ":predict", bodies.from_v1),
    ("/v2/models/", "/infer", bodies.from_v2),
)

Decode = Callable[[Request, str], Any]


class Lanes:
    """Answers predictions of quick models; the paths of others are asked for again each time."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._known: dict[str, tuple[str, Decode]] = {}

    def __call__(self, request: Request, answer: Callable[[Response], None]) -> bool:
        """Takes a request, or says that it needs a task."""
        found = self._known.get(request.path) or self._found(request.path)
        if found is None or request.method != "POST":
            return False
        name, decode = found
        model = self._plane.quick_model(name)
        if model is None:
            return False
        try:
            payload = decode(request, name)
        except InvalidInput:
            # Said, counted and recorded where all refusals are.
            return False
        if cloudevents.event_of(payload, request.headers) is not None:
            return False

        def done(found: Any, error: BaseException | None) -> None:
            answer(_response(found) if error is None else error_response(error))

        self._plane.quick(model, payload, request.headers, done)
        return True

    def _found(self, path: str) -> tuple[str, Decode] | None:
        for start, end, decode in _WAYS:
            if path.startswith(start) and path.endswith(end):
                name = path[len(start) : -len(end)]
                if self._plane.quick_model(name) is None:
                    return None
                return self._known.setdefault(path, (name, decode))
        return None


def _response(found: Any) -> Response:
    try:
        return bodies.of_answer(found)
    except Exception as error:
        # What a model answered may be no JSON; a callback has nobody to raise to.
        return error_response(error)
