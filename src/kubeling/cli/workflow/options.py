"""Options that several commands have; what they need to work is imported when they do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from kubeling.cli.connection import resource_options

__all__ = [
    "Place",
    "follow_options",
    "output_option",
    "parameter_option",
    "place_options",
    "selection_options",
]

F = TypeVar("F", bound=Callable[..., Any])
_OUTPUTS: Final = ("name", "json", "yaml", "short", "wide")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works: the values of the options that say so."""

    namespace: str
    kubeconfig: Path | None
    data_dir: Path


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--namespace``, ``--kubeconfig`` and ``--data-dir``; the function gets a ``place``."""

    @functools.wraps(command)
    def placed(
        *args: Any, namespace: str, kubeconfig: Path | None, data_dir: Path, **kwargs: Any
    ) -> Any:
        return command(*args, place=Place(namespace, kubeconfig, data_dir), **kwargs)

    return resource_options(placed)


def selection_options(command: F) -> F:
    """Adds ``--selector`` and ``--field-selector``."""
    command = click.option(
        "--field-selector", default="", help="Also those with these fields: metadata.name=x."
    )(command)
    return click.option(
        "-l", "--selector", default="", help="Also those with these labels: key1=a,key2=b."
    )(command)


def output_option(command: F) -> F:
    """Adds ``--output``."""
    return click.option(
        "-o", "--output", type=click.Choice(_OUTPUTS), default=None, help="Output format."
    )(command)


def parameter_option(command: F) -> F:
    """Adds ``--parameter``."""
    return click.option(
        "-p", "--parameter", "parameters", multiple=True, help="An argument: NAME=VALUE."
    )(command)


def follow_options(command: F) -> F:
    """Adds ``--output``, ``--wait``, ``--watch`` and ``--log``."""
    command = click.option("--log", is_flag=True, help="Print the logs until the end.")(command)
    command = click.option("--watch", is_flag=True, help="Show the tree until the end.")(command)
    command = click.option(
        "-w", "--wait", is_flag=True, help="Wait for the end; 1 if it does not succeed."
    )(command)
    return output_option(command)
