"""``kubeling template | cluster-template | cron``: one set of commands for three kinds."""

from __future__ import annotations

from types import ModuleType
from typing import Final

import click

from kubeling.cli.connection import run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.options import Place, place_options

__all__ = ["cluster_template", "cron", "template"]

_FILES: Final = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_NAMES: Final = click.argument("names", nargs=-1, required=True, metavar="NAME...")
_STRICT: Final = click.option(
    "--strict/--no-strict", default=True, help="Refuse fields that a kind has not."
)
_OUTPUT: Final = click.option(
    "-o", "--output", type=click.Choice(["name", "json", "yaml", "wide"]), default=None
)


def _work() -> ModuleType:
    """What the commands do, loaded when one of them does it."""
    from kubeling.cli.workflow import keeping

    return keeping


def _writing(kind: str, verb: str) -> click.Command:
    @click.command(verb, help=f"{verb.capitalize()} {kind}s as files say.")
    @_FILES
    @_STRICT
    @_OUTPUT
    @place_options
    def write(files: tuple[str, ...], strict: bool, output: str | None, place: Place) -> None:
        run(_work().write(kind, verb, files, strict, output, place))

    return write


def _listing(kind: str) -> click.Command:
    @click.command("list", help=f"List {kind}s.")
    @click.option("-A", "--all-namespaces", is_flag=True, help="From all namespaces.")
    @click.option("-l", "--selector", default="", help="Labels: key1=a,key2=b.")
    @_OUTPUT
    @place_options
    def list_objects(all_namespaces: bool, selector: str, output: str | None, place: Place) -> None:
        run(_work().list_objects(kind, all_namespaces, selector, output, place))

    return list_objects


def _getting(kind: str) -> click.Command:
    @click.command("get", help=f"Show {kind}s.")
    @_NAMES
    @_OUTPUT
    @place_options
    def get(names: tuple[str, ...], output: str | None, place: Place) -> None:
        run(_work().get(kind, names, output, place))

    return get


def _linting(kind: str) -> click.Command:
    @click.command("lint", help=f"Check {kind}s in files; 1 if something is wrong.")
    @_FILES
    @click.option("-o", "--output", type=click.Choice(["pretty", "simple"]), default="pretty")
    @_STRICT
    @click.option("--offline", is_flag=True, help="Without a server.")
    @place_options
    def lint(files: tuple[str, ...], output: str, strict: bool, offline: bool, place: Place) -> int:
        from kubeling.cli.workflow.checking import lint_objects

        return lint_objects(files, [_work().KINDS[kind]], output, strict, offline, place)

    return lint


def _deleting(kind: str) -> click.Command:
    @click.command("delete", help=f"Delete {kind}s.")
    @click.argument("names", nargs=-1, metavar="NAME...")
    @click.option("--all", "everything", is_flag=True, help="All of them.")
    @place_options
    def delete(names: tuple[str, ...], everything: bool, place: Place) -> None:
        if not names and not everything:
            raise CliError(f"which {kind}?", "Name some, or delete all with --all.")
        run(_work().delete(kind, names, everything, place))

    return delete


def _suspending(verb: str, suspended: bool) -> click.Command:
    @click.command(verb, help=f"{verb.capitalize()} CronWorkflows.")
    @_NAMES
    @place_options
    def change(names: tuple[str, ...], place: Place) -> None:
        run(_work().suspend(names, suspended, place))

    return change


def _group(kind: str, *more: click.Command) -> click.Group:
    made = click.Group(kind.lower(), help=f"{kind}s, as Argo's command line handles them.")
    for command in (
        _writing(kind, "create"),
        _writing(kind, "update"),
        _listing(kind),
        _getting(kind),
        _linting(kind),
        _deleting(kind),
        *more,
    ):
        made.add_command(command)
    return made


template = _group("WorkflowTemplate")
cluster_template = _group("ClusterWorkflowTemplate")
cron = _group("CronWorkflow", _suspending("suspend", True), _suspending("resume", False))
