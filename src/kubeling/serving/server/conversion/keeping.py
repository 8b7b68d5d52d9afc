"""Twins that were proved before, by what they were made of.

A twin is kept with its proof under a digest of the model's file, the samples beside it and the
versions of all that took part. Where one is found, nothing is converted; and once enough rows of
clients were answered alike, a server starts with it alone: without the model's library, in a
fraction of its time and memory. Losing the folder costs a conversion, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from kubeling.serving.server.conversion.proof import Answer

__all__ = ["Keeping", "Known", "Proof", "digest_of", "usual_folder"]

_MOST: Final = 100
_TOOK_PART: Final = {
    "sklearn": ("scikit-learn", "skl2onnx"),
    "xgboost": ("xgboost", "xgboost-cpu", "onnxmltools"),
    "lightgbm": ("lightgbm", "onnxmltools"),
}
_VARIABLES: Final = ("PREDICT_PROBA",)


class Known(msgspec.Struct, frozen=True):
    """What there is to say of a model without its library."""

    width: int
    columns: list[str] | None = None
    shape: list[int] | None = None
    """Of its answer to one row, and the type of that."""
    dtype: str = ""
    saved_with: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What a twin was found to be."""

    answer: Answer
    rows: int
    """How many were compared when it was made."""
    watched: int
    """How many of clients were, since."""
    known: Known
    file: str
    """The digest of the twin's own file: a cut or another one proves nothing."""


class Keeping:
    """A folder of twins. What cannot be read is not there; what cannot be written is let go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, digest: str) -> tuple[Proof, bytes] | None:
        """The twin of a digest, and what is known of it."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            proof = msgspec.json.decode(self._path(digest, "json").read_bytes(), type=Proof)
            twin = self._path(digest, "onnx").read_bytes()
            return (proof, twin) if hashlib.sha256(twin).hexdigest() == proof.file else None
        return None

    def put(self, digest: str, proof: Proof, twin: bytes | None = None) -> None:
        """Keeps a twin, or what is newly known of it, and lets go of the oldest of many.

        Of several servers of a model the first one's twin stays, and the longest watch of it.
        """
        kept = self.find(digest)
        if twin is None and (kept is None or kept[0].file != proof.file):
            return
        if kept is not None and (twin is not None or kept[0].watched >= proof.watched):
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if twin is not None:
                self._write(self._path(digest, "onnx"), twin)
            self._write(self._path(digest, "json"), msgspec.json.encode(proof))
            found = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in found[: -2 * _MOST]:
                path.unlink(missing_ok=True)

    def drop(self, digest: str) -> None:
        """Forgets a twin."""
        with contextlib.suppress(OSError):
            self._path(digest, "json").unlink(missing_ok=True)
            self._path(digest, "onnx").unlink(missing_ok=True)

    def _path(self, digest: str, kind: str) -> Path:
        return self._folder / f"{digest}.{kind}"

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, whoever else writes it."""
        descriptor, name = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def digest_of(format_name: str, files: Iterable[Path]) -> str:
    """What a twin is kept by: it is another one if anything that has a part in it changes."""
    found = hashlib.sha256(format_name.encode())
    for file in files:
        if file.is_file():
            with file.open("rb") as opened:
                found.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    for name in (*_TOOK_PART[format_name], "numpy", "onnxruntime", "kubeling"):
        found.update(f"{name}={_version(name)};".encode())
    for name in _VARIABLES:
        found.update(f"{name}={os.environ.get(name, '')};".encode())
    return found.hexdigest()


def usual_folder() -> Path:
    """Where twins are kept if nothing else is said."""
    if given := os.environ.get("ONNX_FOLDER"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(cache).expanduser() / "kubeling" / "onnx"
    except RuntimeError:
        # A user without a home, as containers have them; then nothing is kept.
        return Path()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
