"""What a request can be refused for; the edge turns each into ``{"error": …}`` and a status."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "InferenceError",
    "InvalidInput",
    "ModelLoadError",
    "ModelNotFound",
    "ModelNotReady",
    "NotSupported",
]


class InferenceError(Exception):
    """The model failed on this request."""

    status: ClassVar[int] = 500


class InvalidInput(InferenceError):
    """The request cannot be understood, or does not fit the model."""

    status = 400


class ModelNotFound(InferenceError):
    """This server does not have that model."""

    status = 404


class NotSupported(InferenceError):
    """The model cannot do what is asked."""

    status = 501


class ModelNotReady(InferenceError):
    """The model is not loaded yet."""

    status = 503


class ModelLoadError(Exception):
    """The model's files cannot be served; says what is wrong and what to do."""
