"""Where files go whose names a store says."""

from __future__ import annotations

from pathlib import Path

from kubeling.artifacts.errors import ArtifactError

__all__ = ["place_inside"]


def place_inside(folder: Path, name: str) -> Path:
    """The place of a file below a folder; raises :class:`ArtifactError` where it is elsewhere."""
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise ArtifactError(f'"{name}" would be written outside of {folder}')
    return place
