"""What is wrong with a pickle that cannot be read, as far as its error and its start tell.

Most are of another version of the library; but a file that was copied in part, one that is no
pickle, and one that needs the script which wrote it fail in the same place, and need other cures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["unreadable"]

_STARTS: Final = (
    b"\x80",  # a pickle, of protocol 2 or later
    b"\x1f\x8b",  # gzip
    *(b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"),  # zlib
    b"BZ",
    b"\xfd7zXZ",
    b"]\x00",  # lzma
    b"\x04\x22\x4d\x18",  # lz4
)
_CUT_OFF: Final = re.compile(r"EOF|end-of-stream|truncated|Ran out of input|end of file", re.I)
_OF_A_SCRIPT: Final = (
    re.compile(r"get attribute '(?P<name>[^']+)' on <module '[^']*\b__main__'"),
    re.compile(r"module '[^']*\b__main__' has no attribute '(?P<name>[^']+)'"),
)
_LONGEST: Final = 300


def unreadable(file: Path, error: Exception) -> str:
    """One line that says what is wrong, and the cure."""
    if isinstance(error, ModuleNotFoundError):
        return _missing(file, str(error.name))
    said = next(iter(str(error).strip().splitlines()), "").rstrip(":")[:_LONGEST]
    found = f"{file.name} cannot be unpickled ({type(error).__name__}: {said})"
    for pattern in _OF_A_SCRIPT:
        if missing := pattern.search(str(error)):
            return (
                f"{file.name} needs {missing['name']}, which is defined in the script that saved "
                "it: move it to a module that the runtime's image has, or serve the model from "
                "your own container"
            )
    with file.open("rb") as opened:
        start = opened.read(16)
    if not start:
        return f"{file.name} is empty; save the model again"
    if isinstance(error, EOFError) or _CUT_OFF.search(str(error)):
        return f"{found}: it ends too early; was it copied whole?"
    if not start.startswith(_STARTS):
        return f"{file.name} is no pickle, but begins with {start!r}; save it by joblib.dump"
    return f"{found}; was it saved with another version of scikit-learn?"


def _missing(file: Path, module: str) -> str:
    # Its compiled modules are pickled by their bare names, such as _loss.
    if module.startswith(("sklearn.", "_")):
        return (
            f"{file.name} needs {module}, which the runtime's scikit-learn does not have; was it "
            "saved with another version of scikit-learn?"
        )
    return (
        f"{file.name} needs the Python package {module}, which the runtime does not have; add it "
        "to the runtime's image or serve the model from your own container"
    )
