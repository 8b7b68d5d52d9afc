"""What can go wrong while a model is fetched."""

from __future__ import annotations

__all__ = ["StorageError"]


class StorageError(Exception):
    """A model cannot be fetched; the text says why and what to do, in one line."""
