"""What a request can be refused for; the edges turn each into a status and ``{"error": …}``."""

from __future__ import annotations

from typing import Any

__all__ = [
    "GenerationFailed",
    "InferenceError",
    "InvalidInput",
    "ModelLoadError",
    "ModelNotFound",
    "ModelNotReady",
    "ModelRefusal",
    "NotSupported",
    "Overloaded",
    "ServingError",
    "TimedOut",
    "TooLarge",
    "Unprocessable",
]


class ServingError(Exception):
    """The base of all; ``http_status`` is what REST answers."""

    http_status: int = 500

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def body(self) -> dict[str, Any]:
        """What REST answers."""
        return {"error": str(self)}


class InferenceError(ServingError, RuntimeError):
    """The model failed on this request, and not for the request's sake."""


class InvalidInput(ServingError, ValueError):
    """The request cannot be understood, or does not fit the model."""

    http_status = 400


class ModelNotFound(ServingError):
    """This server does not have that model, version or page."""

    http_status = 404


class TooLarge(ServingError):
    """The request is larger than the server takes."""

    http_status = 413


class Unprocessable(InvalidInput):
    """A request to generate that cannot be understood; the protocol has a status for it."""

    http_status = 422


class GenerationFailed(InferenceError):
    """The model failed while it generated."""

    http_status = 424


class Overloaded(ServingError):
    """There is more to do than the model can; the same request may be answered later."""

    http_status = 429


class NotSupported(ServingError):
    """The model cannot do what is asked."""

    http_status = 501


class ModelNotReady(ServingError):
    """The model is not loaded yet, or could not be."""

    http_status = 503


class TimedOut(ServingError):
    """The model did not answer in the time it has."""

    http_status = 504


class ModelRefusal(ServingError):
    """A model of one's own chose the status, by the ``HTTPException`` of FastAPI or Starlette.

    Upstream's server is an application of FastAPI, whose answer to it is ``{"detail": …}``.
    """

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(str(detail))
        self.http_status = status
        self.detail = detail

    @property
    def body(self) -> dict[str, Any]:
        return {"detail": self.detail}


class ModelLoadError(Exception):
    """The model's files cannot be served; says what is wrong and what to do."""
