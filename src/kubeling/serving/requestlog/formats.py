"""The formats of files of batches, by name."""

from typing import Final

__all__ = ["FORMATS"]

FORMATS: Final = ("json", "csv", "parquet")
