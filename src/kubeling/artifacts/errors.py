"""What can go wrong with an artifact."""

from __future__ import annotations

__all__ = ["ArtifactDenied", "ArtifactError", "ArtifactNotFound"]


class ArtifactError(Exception):
    """An artifact cannot be reached; the message says why and what to do."""


class ArtifactDenied(ArtifactError):
    """The store lets others use the artifact, but not us."""


class ArtifactNotFound(ArtifactError):
    """There is nothing at the address."""
