"""Commands that start a Python interpreter, read as it reads them. Pure.

Only those that a template can run in its stead (:mod:`.templates`): a script, ``-m`` or ``-c``,
after no other option than ``-u``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kubeling.engine.sandbox.plan import WarmCommand

__all__ = ["PythonCommand", "find_program", "python_command", "settings_of"]

_NAME: Final = re.compile(r"python(3(\.\d+)?)?")
_UNBUFFERED: Final = "-u"

_READ_AT_START: Final = re.compile(
    r"PYTHON.*|LC_.*|LANG|LANGUAGE|TZ|MALLOC_.*|GLIBC_TUNABLES|OPENSSL_.*|SSL_.*"
    r"|(OMP|OPENBLAS|GOTO|MKL|KMP|BLIS|NUMEXPR|VECLIB|CUDA|GRPC|ORT)_.*"
)
"""What interpreters and the libraries of modules look at when they start."""

_FORBIDDEN: Final = re.compile(
    r"LD_.*|PYTHON(PATH|HOME|STARTUP|INSPECT|EXECUTABLE|PLATLIBDIR|WARNINGS|DUMPREFS|USERBASE"
    r"|NODEBUGRANGES|PROFILEIMPORTTIME|TRACEMALLOC|FAULTHANDLER|PERF.*|MALLOC|MALLOCSTATS|DEVMODE)"
)
"""What changes programs in ways that no template is made for."""


@dataclass(frozen=True, slots=True)
class PythonCommand:
    """A command; ``program`` is its first word."""

    program: str
    options: tuple[str, ...]
    warm: WarmCommand


def find_program(name: str, env: Mapping[str, str]) -> str | None:
    """Where a program is, if that depends on nothing but the machine's files."""
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{f}/{name}" for f in env.get("PATH", os.defpath).split(os.pathsep)]
    for candidate in candidates:
        if not candidate.startswith("/") or "\0" in candidate:
            return None
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return None


def python_command(argv: Sequence[str]) -> PythonCommand | None:
    """What a command means to an interpreter; ``None`` for any other command."""
    if not argv or _NAME.fullmatch(os.path.basename(argv[0])) is None:
        return None
    place = 1
    while place < len(argv) and argv[place] == _UNBUFFERED:
        place += 1
    options = tuple(argv[1:place])[:1]
    if place >= len(argv):
        return None
    word = argv[place]
    if word in ("-c", "-m"):
        if place + 1 >= len(argv) or not argv[place + 1]:
            return None
        kind, place = ("command" if word == "-c" else "module"), place + 1
    elif word.startswith("-") or not word:
        return None
    else:
        kind = "file"
    # Checked above to be one of the three.
    warm = WarmCommand(kind=kind, argv=list(argv), place=place, env={}, shell=False)  # type: ignore[typeddict-item]
    return PythonCommand(argv[0], options, warm)


def settings_of(env: Mapping[str, str]) -> tuple[tuple[str, str], ...] | None:
    """The variables that an interpreter must have been started with to run a command.

    ``None`` if there are such that none may be used at all.
    """
    if any(_FORBIDDEN.fullmatch(name) for name in env):
        return None
    return tuple(sorted((k, v) for k, v in env.items() if _READ_AT_START.fullmatch(k)))
