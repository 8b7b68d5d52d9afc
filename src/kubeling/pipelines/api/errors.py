"""Errors as gRPC-gateway writes them: an HTTP status, a gRPC code, a message."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyExistsError",
    "ApiFailure",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
]


class ApiFailure(Exception):
    """A refusal; the message names the field or resource and says what to do."""

    http: ClassVar[int] = 500
    code: ClassVar[int] = 13


class InvalidArgumentError(ApiFailure):
    """The request is wrong."""

    http = 400
    code = 3


class NotFoundError(ApiFailure):
    """What it names does not exist."""

    http = 404
    code = 5

    @classmethod
    def of(cls, kind: str, own_id: str) -> NotFoundError:
        return cls(f"{kind} {own_id} not found")


class AlreadyExistsError(ApiFailure):
    """The name is taken."""

    http = 409
    code = 6


class FailedPreconditionError(ApiFailure):
    """It cannot be done in the present state."""

    http = 400
    code = 9


class UnavailableError(ApiFailure):
    """What it takes is away for now; the same may be asked later."""

    http = 503
    code = 14


class UnauthenticatedError(ApiFailure):
    """Nobody said who asks."""

    http = 401
    code = 16


class PermissionDeniedError(ApiFailure):
    """Who asks may not do this."""

    http = 403
    code = 7


class UnimplementedError(ApiFailure):
    """Upstream does this, this platform does not; the message says what does."""

    http = 501
    code = 12
