"""What a template imports ahead: what programs like the one it is started for import.

Importing too much is no mistake, because a program sees only what it imports itself, but a waste:
every fork has to copy some of the memory. So there is little that all templates have; the rest is
what the program names that had the template started.
"""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Iterator, Sequence
from typing import Final, TypeGuard

from kubeling.engine.pythoncommand import PythonCommand

__all__ = ["modules_ahead", "modules_named", "special_modules"]

_COMMON: Final = """
    runpy argparse collections contextlib dataclasses datetime enum functools json locale logging
    pathlib random re tempfile threading time traceback typing warnings
"""
_ENTRIES: Final = ("kfp.dsl.executor_main",)
"""Programs whose being imported does nothing else."""

_CHANGES: Final = ("setdefault", "update", "pop", "clear")
_SETTERS: Final = ("putenv", "unsetenv", "load_dotenv")
_LARGEST: Final = 256 * 1024
_MOST: Final = 50


def special_modules(command: PythonCommand) -> tuple[str, ...]:
    """What only commands of the same kind begin with."""
    module = command.warm["argv"][command.warm["place"]]
    return (module,) if command.warm["kind"] == "module" and module in _ENTRIES else ()


def modules_ahead(
    command: PythonCommand, argv: Sequence[str], folder: str
) -> tuple[list[str], list[str]]:
    """What every template has for such a command, and what the program itself names (blocking)."""
    certain = _COMMON.split()
    return certain, [
        name for name in modules_named(_source(command, argv, folder)) if name not in certain
    ]


def modules_named(source: str) -> list[str]:
    """The modules that a program imports, wherever in it.

    But not below a line that sets variables: it may do so for what it imports then.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return []
    end = min((node.lineno for node in nodes if _sets_variables(node)), default=math.inf)
    found = dict.fromkeys(name for node in nodes for name in _imported(node, end))
    return list(found)[:_MOST]


def _sets_variables(node: ast.AST) -> TypeGuard[ast.expr | ast.stmt]:
    match node:
        case ast.Subscript(value=whole, ctx=ast.Store() | ast.Del()):
            return _is_named(whole, "environ")
        case ast.AugAssign(target=whole):
            return _is_named(whole, "environ")
        case ast.Call(func=ast.Attribute(value=whole, attr=method)) if method in _CHANGES:
            return _is_named(whole, "environ")
        case ast.Call(func=function):
            return any(_is_named(function, name) for name in _SETTERS)
    return False


def _is_named(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=found) | ast.Attribute(attr=found):
            return found == name
    return False


def _imported(node: ast.AST, end: float) -> Iterator[str]:
    match node:
        case ast.Import(names=names) if node.lineno < end:
            yield from (name.name for name in names)
        case ast.ImportFrom(module=str(module), level=0) if node.lineno < end:
            yield module


def _source(command: PythonCommand, argv: Sequence[str], folder: str) -> str:
    warm = command.warm
    if "file" in warm:
        return argv[warm["file"]["text"]]
    target = warm["argv"][warm["place"]]
    if warm["kind"] == "command":
        return target
    if warm["kind"] == "file":
        try:
            with open(os.path.join(folder, target)) as file:
                return file.read(_LARGEST)
        except (OSError, ValueError):
            return ""
    return ""
