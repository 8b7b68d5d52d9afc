"""The installation that every Python component begins with, and how to make it unnecessary.

The SDK compiles a Python function to a shell that installs kfp and the function's packages and then
goes on to the function: seconds to minutes of network per task. Here the packages are declared on
the Pod, and the command skips the installation where the environment says that it has them. A node
that does not know the declaration runs the command as the SDK wrote it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["PACKAGES_ANNOTATION", "READY_VARIABLE", "Packages", "declared_packages"]

PACKAGES_ANNOTATION: Final = "kubeling.io/python-packages"
"""On a Pod: by container, the packages that its environment should have."""

READY_VARIABLE: Final = "KUBELING_PACKAGES_READY"
"""Set in containers whose environment has them."""

_INSTALL: Final = re.compile(r"-m pip install\s+(.*?)(?=&&|\n|$)")
_GO_ON: Final = '"$0" "$@"'
_QUIET: Final = frozenset(
    {"--quiet", "-q", "--no-warn-script-location", "--disable-pip-version-check", "--no-cache-dir"}
)
_USUAL: Final = re.compile(
    r"--(?:index-url|trusted-host)[ =](?:https://)?pypi\.org(?:/simple/?)?(?=\s|$)"
)
"""Naming PyPI is naming what is meant anyway, here or at its mirror."""


class Packages(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requirements; the ``bare`` ones come without what they depend on."""

    requirements: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


def declared_packages(command: Sequence[str]) -> tuple[Packages, list[str]] | None:
    """What a command installs first, and the command that can do without; ``None`` for others.

    Options that change where packages come from are left to pip: the command stays as it is.
    """
    if len(command) < 4 or command[1] != "-c" or not command[2].rstrip().endswith(_GO_ON):
        return None
    requirements: list[str] = []
    bare: list[str] = []
    found = _INSTALL.findall(command[2])
    for arguments in found:
        words = _words(_USUAL.sub("", arguments))
        if words is None:
            return None
        wanted = bare if "--no-deps" in words else requirements
        names = [word for word in words if word != "--no-deps" and word not in _QUIET]
        if any(name.startswith("-") for name in names):
            return None
        wanted += names
    if not found:
        return None
    skip = f'[ -n "${READY_VARIABLE}" ] && exec {_GO_ON}\n'
    rewritten = [*command[:2], skip + command[2], *command[3:]]
    return Packages(tuple(requirements), tuple(bare)), rewritten


def _words(arguments: str) -> list[str] | None:
    try:
        return shlex.split(arguments)
    except ValueError:
        return None
