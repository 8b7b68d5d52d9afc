"""Errors of the Kubernetes API: one hierarchy, made from and turned into ``Status`` objects.

Upstream's rules (apimachinery ``api/errors``): clients branch on ``reason`` and ``code``, people
read ``message``, and ``details.causes`` names the fields. Both ends of the contract use the same
classes, so an error raised in the embedded server reaches an in-process controller unchanged.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

__all__ = [
    "UNSET",
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "Conflict",
    "Expired",
    "FieldError",
    "Forbidden",
    "Gone",
    "InsufficientStorage",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "ServerTimeout",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
    "error_from_status",
    "lacks_room",
]

UNSET: Final = object()

_CAUSE_REASONS: Final = {
    "Required value": "FieldValueRequired",
    "Invalid value": "FieldValueInvalid",
    "Unsupported value": "FieldValueNotSupported",
    "Duplicate value": "FieldValueDuplicate",
    "Not found": "FieldValueNotFound",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Internal error": "InternalError",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field.

    ``reason`` is one of Kubernetes' phrases (``Required value``, ``Invalid value``,
    ``Unsupported value``, ``Duplicate value``, ``Not found``, ``Forbidden``, ``Too long``,
    ``Too many``); ``message`` says what to do.
    """

    path: str
    reason: str
    message: str
    value: Any = UNSET

    def __str__(self) -> str:
        return f"{self.path}: {self.body}"

    @property
    def body(self) -> str:
        """The text without the field's path."""
        shown = self.value is not UNSET and self.reason not in ("Required value", "Forbidden")
        parts = [self.reason, _show(self.value)] if shown else [self.reason]
        return ": ".join([*parts, self.message] if self.message else parts)

    def cause(self) -> dict[str, Any]:
        """This error as an entry of ``Status.details.causes``."""
        reason = _CAUSE_REASONS.get(self.reason, "FieldValueInvalid")
        return {"reason": reason, "message": self.body, "field": self.path}


def _show(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class ApiError(Exception):
    """An answer other than success; ``status`` is the ``Status`` object as sent on the wire."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.metadata: dict[str, Any] = {}
        """What the ``Status`` says as a list would: where to go on, if a page cannot be had."""
        self.status_code = code or self.code
        self.status_reason = self.reason if reason is None else reason

    @property
    def status(self) -> dict[str, Any]:
        """The error as a ``Status`` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.status_reason,
        }
        if self.details:
            status["details"] = self.details
        return {**status, "code": self.status_code}

    def __str__(self) -> str:
        return self.message


class BadRequest(ApiError):
    """The request cannot be read."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """No valid credentials."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """The user may not do this, or an admission rule refuses it."""

    code = 403
    reason = "Forbidden"

    @classmethod
    def of(cls, group: str, plural: str, name: str, why: str) -> Forbidden:
        """Refusal of a named object."""
        return cls(
            f'{_qualified(plural, group)} "{name}" is forbidden: {why}',
            details=_details(name, group, plural),
        )


class NotFound(ApiError):
    """The object, or the kind, does not exist."""

    code = 404
    reason = "NotFound"

    @classmethod
    def of(cls, group: str, plural: str, name: str) -> NotFound:
        """The named object does not exist."""
        return cls(
            f'{_qualified(plural, group)} "{name}" not found', details=_details(name, group, plural)
        )


class MethodNotAllowed(ApiError):
    """The resource does not support the verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    """None of the media types the client accepts can be served."""

    code = 406
    reason = "NotAcceptable"


class Conflict(ApiError):
    """The object changed since it was read, or another manager owns a field."""

    code = 409
    reason = "Conflict"

    @classmethod
    def of(cls, group: str, plural: str, name: str, why: str = "") -> Conflict:
        """A write lost the race for the named object."""
        why = why or (
            "the object has been modified; please apply your changes to the latest version "
            "and try again"
        )
        return cls(
            f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}',
            details=_details(name, group, plural),
        )


class AlreadyExists(ApiError):
    """An object of that name exists."""

    code = 409
    reason = "AlreadyExists"

    @classmethod
    def of(cls, group: str, plural: str, name: str) -> AlreadyExists:
        """The named object exists already."""
        return cls(
            f'{_qualified(plural, group)} "{name}" already exists',
            details=_details(name, group, plural),
        )


class Gone(ApiError):
    """The resource version asked for is no longer kept."""

    code = 410
    reason = "Gone"


class Expired(Gone):
    """The resource version asked for is no longer kept."""

    reason = "Expired"


class UnsupportedMediaType(ApiError):
    """The body's media type cannot be read."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """The object breaks a rule; ``details.causes`` names each field."""

    code = 422
    reason = "Invalid"

    @classmethod
    def of(cls, group: str, kind: str, name: str, errors: Iterable[FieldError]) -> Invalid:
        """Refusal of the named object for the given field errors."""
        found = list(errors)
        texts = [str(error) for error in found]
        listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        details = _details(name, group, kind)
        details["causes"] = [error.cause() for error in found]
        return cls(f'{_qualified(kind, group)} "{name}" is invalid: {listed}', details=details)


class TooManyRequests(ApiError):
    """Try again later (also: an eviction a disruption budget does not allow)."""

    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    """The server failed."""

    code = 500
    reason = "InternalError"


class ServiceUnavailable(ApiError):
    """The server cannot answer now."""

    code = 503
    reason = "ServiceUnavailable"


class ServerTimeout(ApiError):
    """The server did not finish in time."""

    code = 504
    reason = "Timeout"


class InsufficientStorage(ApiError):
    """There is no room for the write; it was not made, and may be when there is."""

    code = 507
    reason = "InsufficientStorage"


_BY_REASON: Final[dict[str, type[ApiError]]] = {
    cls.reason: cls
    for cls in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        AlreadyExists,
        Gone,
        Expired,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        InternalError,
        ServiceUnavailable,
        ServerTimeout,
        InsufficientStorage,
    )
}
_BY_CODE: Final[dict[int, type[ApiError]]] = {
    cls.code: cls for cls in reversed(_BY_REASON.values())
}


def error_from_status(status: Mapping[str, Any], code: int | None = None) -> ApiError:
    """The error a ``Status`` object stands for; unknown reasons fall back to the HTTP code."""
    number = int(status.get("code") or code or 500)
    reason = str(status.get("reason") or "")
    cls = _BY_REASON.get(reason) or _BY_CODE.get(number) or ApiError
    message = str(status.get("message") or reason or f"HTTP {number}")
    error = cls(message, details=status.get("details"), code=number, reason=reason or cls.reason)
    error.metadata = dict(status.get("metadata") or {})
    return error


def lacks_room(error: BaseException) -> bool:
    """Whether a disk was full, whichever layer ran into it first."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, InsufficientStorage)


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = kind
    return details
