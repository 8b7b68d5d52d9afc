"""The files a supervisor leaves beside its container: written whole or not at all.

JSON by hand, because importing :mod:`json` would double what each supervisor loads.
"""

from __future__ import annotations

import os

from kubeling.engine.sandbox.patience import wait_for_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STATE = "state.json"
EXIT = "exit.json"


def write(
    folder: int, name: str, record: Mapping[str, int | float | str], plan: bytes = b""
) -> None:
    """Writes a record into the folder that the descriptor stands for; readers see all of it.

    ``plan`` is JSON already. Raises :class:`OSError`.
    """
    fields = ", ".join(f'"{key}": {_encode(value)}' for key, value in record.items())
    data = f"{{{fields}".encode() + (b', "plan": ' + plan if plan else b"") + b"}\n"
    temporary = f".{name}"
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o644, dir_fd=folder)
    try:
        written = os.write(file, data)
        if written < len(data):
            os.write(file, data[written:])  # which says why
    finally:
        os.close(file)
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def write_surely(folder: int, name: str, record: Mapping[str, int | float | str]) -> None:
    """Writes a record that nobody else could write, when there is room for it."""
    while True:
        try:
            write(folder, name, record)
        except OSError as error:
            wait_for_room(error)
        else:
            return


def _encode(value: float | str) -> str:
    if not isinstance(value, str):
        return repr(value)
    text = "".join(c if c >= " " and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
    return f'"{text}"'
