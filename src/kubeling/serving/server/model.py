"""What a model is to the server, and the base class for models of one's own."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from kubeling.serving.server.errors import NotSupported

__all__ = ["Model"]


class Model:
    """A model by name. Override :meth:`load` and :meth:`predict`; the rest has defaults.

    ``predict`` (and ``preprocess``/``postprocess``) take and return the JSON body of the request:
    ``{"instances": …}`` to ``{"predictions": …}`` in V1, ``{"inputs": …}`` to ``{"outputs": …}``
    in V2. Each may be a coroutine. The server calls :meth:`load` once, before it is ready, and
    never two at once; the other methods run on the event loop, so long work belongs in a thread.
    """

    platform = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False

    def load(self) -> None:
        """Reads the model's files; raise ``ModelLoadError`` to say what is wrong with them."""

    def metadata(self) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """The tensors the model takes and gives, as V2 metadata; empty where unknown."""
        return [], []

    def preprocess(self, body: Any, headers: Mapping[str, str]) -> Any | Awaitable[Any]:
        """Changes a request before it is predicted."""
        return body

    def predict(self, body: Any, headers: Mapping[str, str]) -> Any | Awaitable[Any]:
        """Answers a request."""
        raise NotSupported(f"model {self.name} does not implement predict")

    def postprocess(self, answer: Any, headers: Mapping[str, str]) -> Any | Awaitable[Any]:
        """Changes an answer before it is sent."""
        return answer

    def explain(self, body: Any, headers: Mapping[str, str]) -> Any | Awaitable[Any]:
        """Explains a prediction."""
        raise NotSupported(f"model {self.name} does not implement explain")
