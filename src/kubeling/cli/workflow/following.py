"""Waiting for workflows to end: silently, with a live tree, or with their logs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

import click

from kubeling.cli.errors import CliError
from kubeling.cli.workflow.display import shown
from kubeling.cli.workflow.session import Session
from kubeling.cli.workflow.tree import TreeOptions
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import Obj
from kubeling.workflows.logs import LogLine, LogQuery, workflow_logs
from kubeling.workflows.resources import WORKFLOWS

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["follow", "log_line", "print_logs", "wait_for", "watch_one"]

_FINAL = ("Succeeded", "Failed", "Error")
_COLOURS = ("green", "yellow", "blue", "magenta", "cyan", "white")


async def follow(
    session: Session,
    names: list[str],
    *,
    wait: bool = False,
    watch: bool = False,
    log: bool = False,
    options: TreeOptions | None = None,
    quiet: bool = False,
) -> int:
    """What ``--log``, ``--wait`` and ``--watch`` ask for; the exit code of it."""
    code = 0
    if log:
        for wanted in names:
            await print_logs(session, wanted, LogQuery(container="main", follow=True))
    if wait:
        code = await wait_for(session, names, quiet=quiet)
    elif watch:
        for wanted in names:
            code = max(code, await watch_one(session, wanted, options or TreeOptions()))
    return code


async def wait_for(
    session: Session, names: Iterable[str], *, ignore_missing: bool = False, quiet: bool = False
) -> int:
    """Waits until all have ended; 1 if one of them did not succeed."""

    async def one(wanted: str) -> bool:
        try:
            async for workflow in _changes(session, wanted):
                status = workflow.get("status") or {}
                if status.get("phase") in _FINAL:
                    if not quiet:
                        click.echo(f"{wanted} {status['phase']} at {status.get('finishedAt')}")
                    return bool(status["phase"] == "Succeeded")
        except NotFound:
            if not ignore_missing:
                raise
        return True

    return 0 if all(await asyncio.gather(*(one(wanted) for wanted in names))) else 1


async def watch_one(session: Session, wanted: str, options: TreeOptions) -> int:
    """Shows the tree of a workflow until it has ended; 1 if it did not succeed."""
    live = _Live(session, options) if sys.stdout.isatty() else None
    with live or contextlib.nullcontext():
        async for workflow in _changes(session, wanted):
            full = await session.offload.hydrated(workflow)
            if live is not None:
                live.show(full)
            phase = (workflow.get("status") or {}).get("phase")
            if phase in _FINAL:
                if live is None:
                    click.echo(shown(full, options, session.now()))
                return 0 if phase == "Succeeded" else 1
    return 1


async def print_logs(
    session: Session, wanted: str, query: LogQuery, *, colour: bool = True
) -> None:
    """Prints what the steps of a workflow wrote."""
    async with contextlib.aclosing(
        workflow_logs(session.client, session.namespace, wanted, query, session.offload.hydrated)
    ) as lines:
        async for line in lines:
            click.echo(log_line(line, colour=colour))


def log_line(line: LogLine, *, colour: bool = True) -> str:
    """A line with the pod it comes from, each pod in a colour of its own."""
    name = f"{line.pod}: "
    if colour:
        name = click.style(name, _COLOURS[sum(map(ord, line.pod)) % len(_COLOURS)])
    return name + line.content


async def _changes(session: Session, wanted: str) -> AsyncIterator[Obj]:
    """The workflow now, and whenever it has changed."""
    found = await session.client.get(WORKFLOWS, wanted, session.namespace)
    yield found
    version = found["metadata"]["resourceVersion"]
    while True:
        with contextlib.suppress(ApiError):
            events = session.client.watch(
                WORKFLOWS,
                session.namespace,
                fields=f"metadata.name={wanted}",
                resource_version=version,
            )
            async for event in events:
                if event.type == "DELETED":
                    raise CliError(f"workflow {wanted} was deleted")
                version = event.object["metadata"]["resourceVersion"]
                yield event.object
        version = ""


class _Live:
    """The text of ``get``, kept up to date on a terminal."""

    def __init__(self, session: Session, options: TreeOptions) -> None:
        from rich.console import Console
        from rich.live import Live

        self._session = session
        self._options = options
        self._workflow: Obj | None = None
        self._live = Live(
            get_renderable=self._text, console=Console(highlight=False), refresh_per_second=4
        )

    def show(self, workflow: Obj) -> None:
        """Takes what is to be shown from now on."""
        self._workflow = workflow
        self._live.refresh()

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def _text(self) -> Text:
        from rich.text import Text

        if self._workflow is None:
            return Text("")
        return Text.from_ansi(shown(self._workflow, self._options, self._session.now()))
