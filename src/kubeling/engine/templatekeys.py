"""What commands have in common that can be forked from one interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubeling.engine.preloading import special_modules
from kubeling.engine.pythoncommand import PythonCommand, find_program, settings_of

__all__ = ["TemplateKey", "key_of"]


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """All that commands of one template have in common."""

    program: str
    argv0: str
    options: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    ahead: tuple[str, ...]
    """What it imports ahead beside the usual."""


def key_of(
    command: PythonCommand, env: Mapping[str, str], ahead: tuple[str, ...]
) -> TemplateKey | None:
    """The key of a command in such an environment; ``None`` if it has to be executed.

    ``ahead`` are the modules that its image is known for.
    """
    settings, program = settings_of(env), find_program(command.program, env)
    if settings is None or program is None or _is_script(program):
        return None
    ahead = (*special_modules(command), *ahead)
    return TemplateKey(program, command.program, command.options, settings, ahead)


def _is_script(program: str) -> bool:
    """Whether a program of an interpreter's name is none itself: it does more than to start one."""
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True
