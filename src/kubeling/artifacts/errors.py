"""What can go wrong with an artifact."""

from __future__ import annotations

from kubeling.kube.errors import InsufficientStorage, lacks_room

__all__ = [
    "ArtifactAway",
    "ArtifactDenied",
    "ArtifactError",
    "ArtifactNotFound",
    "NoRoom",
    "written_error",
]


class ArtifactError(Exception):
    """An artifact cannot be reached; the message says why and what to do."""


class ArtifactAway(ArtifactError):
    """The store did not answer, or was too busy to; it may later."""


class ArtifactDenied(ArtifactError):
    """The store lets others use the artifact, but not us."""


class NoRoom(InsufficientStorage, ArtifactError):
    """The disk is full; the same may be done when it is not."""


class ArtifactNotFound(ArtifactError):
    """There is nothing at the address."""


def written_error(path: object, error: OSError) -> ArtifactError:
    """What to say of a path that could not be written."""
    if lacks_room(error):
        return NoRoom(
            f"the disk that holds {path} is full: free some space and try again; nothing already "
            "stored was lost"
        )
    return ArtifactError(f"cannot write {path}: {error.strerror or error}")
