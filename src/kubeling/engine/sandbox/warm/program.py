"""What a shell would have done before the command: variables of its own, and a file to run."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_RANDOM = 10


def prepare(request: dict[str, Any]) -> None:
    """Makes ``env`` and ``argv`` of a request what the command will have; in its folder."""
    if request["shell"]:
        env = {k: v for k, v in request["env"].items() if _VARIABLE.fullmatch(k)}
        request["env"] = {**env, "PWD": _working_folder(env.get("PWD", ""))}
    if file := request.get("file"):
        request["folder"] = _temporary_folder(request["env"])
        request["argv"][file["place"]] = f"{request['folder']}/{file['name']}"


def write(request: dict[str, Any]) -> None:
    """Writes the file of a request, if it has one; as the command's user."""
    if file := request.get("file"):
        os.mkdir(request["folder"], 0o700)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        opened = os.open(request["argv"][file["place"]], flags, 0o666)
        data = os.fsencode(request["text"])
        while data:
            data = data[os.write(opened, data) :]
        os.close(opened)


def _working_folder(told: str) -> str:
    """A name that the variable has for it already is kept, like ``pwd -L``."""
    try:
        if told.startswith("/") and os.path.samefile(told, "."):
            return told
    except OSError:
        pass
    return os.getcwd()


def _temporary_folder(env: dict[str, str]) -> str:
    """A name as mktemp(1) makes it."""
    letters = "".join(_LETTERS[number % len(_LETTERS)] for number in os.urandom(_RANDOM))
    return f"{env.get('TMPDIR') or '/tmp'}/tmp.{letters}"
