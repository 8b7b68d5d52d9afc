"""Whether a model was saved by another version of its library than the one that loads it.

scikit-learn says so in the server's log, but only of estimators that it gets to unpickle; the file
itself tells also where unpickling fails first. It is searched for the version that every estimator
carries, and never unpickled.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

__all__ = ["Skew", "skew_in", "skew_of"]

_LIBRARY: Final = "scikit-learn"
_SUFFIXES: Final = (".joblib", ".pkl", ".pickle")
_IN_FILE: Final = re.compile(rb"_sklearn_version[^.]{1,16}?(\d+\.\d+(?:\.\d+)?(?:rc\d+|\.dev\d+)?)")
_IN_LOG: Final = re.compile(
    r"Trying to unpickle estimator \w+ from version (\S+) when using version ([^\s,]+?)\.?\s"
)


@dataclass(frozen=True, slots=True)
class Skew:
    """The two versions."""

    library: str
    saved: str
    loaded: str

    def __str__(self) -> str:
        return (
            f"the model was saved with {self.library} {self.saved}, and {self.loaded} loads it: "
            f"save it again with {self.loaded}, or serve it with {self.saved} (a ServingRuntime of "
            "your own, or ONNX, which keeps no versions)"
        )


def installed(package: str) -> str:
    """A package's version here; empty if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def skew_of(
    log: str, place: Path | None = None, version_of: Callable[[str], str] = installed
) -> Skew | None:
    """The skew that a server's log, or the file at ``place``, tells of."""
    if found := _IN_LOG.search(log + "\n"):
        return Skew(_LIBRARY, found[1], found[2])
    try:
        saved = _saved_with(place) if place is not None else ""
    except OSError:  # which may be why the model does not load, and then its log says so
        saved = ""
    here = version_of(_LIBRARY)
    if saved and here and saved != here:
        return Skew(_LIBRARY, saved, here)
    return None


def skew_in(parameters: Mapping[str, Any]) -> Skew | None:
    """The skew that a model which loaded tells of in its metadata."""
    library, _, saved = str(parameters.get("saved_with", "")).rpartition(" ")
    loaded = str(parameters.get("loaded_with", "")).rpartition(" ")[2]
    return Skew(library, saved, loaded) if library and loaded else None


def _saved_with(place: Path) -> str:
    files = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
    for file in files:
        if file.suffix in _SUFFIXES and file.is_file() and file.stat().st_size:
            with (
                file.open("rb") as opened,
                mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                if found := _IN_FILE.search(content):
                    return found[1].decode()
    return ""
