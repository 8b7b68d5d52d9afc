"""What the registry refuses, with the HTTP status it becomes."""

from __future__ import annotations

__all__ = ["BadRequest", "Conflict", "NotFound", "RegistryError"]


class RegistryError(Exception):
    """A refusal; the message is for the caller."""

    status = 500


class BadRequest(RegistryError):
    """The request cannot be carried out as it is."""

    status = 400


class NotFound(RegistryError):
    """There is no such entity."""

    status = 404


class Conflict(RegistryError):
    """The name is taken."""

    status = 409
