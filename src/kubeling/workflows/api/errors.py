"""Errors as gRPC-gateway writes them: ``{"code": gRPC code, "message": …}`` and an HTTP status.

Upstream: ``server/utils/errors.go`` maps what Kubernetes refused to gRPC codes, and the gateway
those to HTTP statuses; a 422 becomes a 400 on the way.
"""

from __future__ import annotations

from typing import ClassVar, Final

from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj

__all__ = [
    "AlreadyExistsFailure",
    "ApiFailure",
    "InvalidArgument",
    "NotFoundFailure",
    "PermissionDenied",
    "Unauthenticated",
    "failure_of",
]

_CODES: Final = {
    400: 3, 401: 16, 403: 7, 404: 5, 408: 1, 409: 6, 429: 8, 501: 12, 503: 14, 504: 4,
}  # fmt: skip
"""gRPC codes of HTTP statuses; of others, those of 400 and 500."""

_STATUSES: Final = {1: 408, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 12: 501, 13: 500,
                    14: 503, 16: 401}  # fmt: skip


class ApiFailure(Exception):
    """A refusal of the API's own."""

    code: ClassVar[int] = 13


class InvalidArgument(ApiFailure):
    """The request is wrong."""

    code = 3


class NotFoundFailure(ApiFailure):
    """What it names does not exist."""

    code = 5


class AlreadyExistsFailure(ApiFailure):
    """What it makes exists."""

    code = 6


class PermissionDenied(ApiFailure):
    """The caller may not do that."""

    code = 7


class Unauthenticated(ApiFailure):
    """The caller is not who it says it is."""

    code = 16


def failure_of(error: ApiError | ApiFailure | ValueError) -> tuple[int, Obj]:
    """The HTTP status and the body of a refusal; a :class:`ValueError` is a wrong request."""
    if isinstance(error, ApiError):
        status = error.status_code
        code = _CODES.get(status, 3 if status < 500 else 13)
        return _STATUSES[code], {"code": code, "message": error.message}
    code = error.code if isinstance(error, ApiFailure) else InvalidArgument.code
    return _STATUSES[code], {"code": code, "message": str(error)}
