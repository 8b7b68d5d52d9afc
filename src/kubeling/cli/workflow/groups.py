"""The groups of commands."""

from __future__ import annotations

from typing import Final

import click

from kubeling.cli.lazy import Commands, LazyGroup

__all__ = ["archive", "workflow"]

_HERE: Final = "kubeling.cli.workflow"
_WORKFLOW: Final[Commands] = {
    "submit": (f"{_HERE}.submit:submit", "Submit workflows from files or from a template."),
    "list": (f"{_HERE}.listing:list_workflows", "List workflows."),
    "get": (f"{_HERE}.reading:get", "Show a workflow and the tree of its steps."),
    "watch": (f"{_HERE}.reading:watch", "Show that tree until the workflow ends."),
    "wait": (f"{_HERE}.reading:wait", "Wait for workflows to end."),
    "logs": (f"{_HERE}.logs:logs", "Print what the steps wrote."),
    "lint": (f"{_HERE}.linting:lint", "Check manifests without running anything."),
    "retry": (f"{_HERE}.again:retry", "Run again what failed."),
    "resubmit": (f"{_HERE}.again:resubmit", "Run the same under a new name."),
    "suspend": (f"{_HERE}.changing:suspend", "Let no new steps start."),
    "resume": (f"{_HERE}.changing:resume", "Go on."),
    "set": (f"{_HERE}.changing:set_nodes", "Set what a suspended step waits for."),
    "stop": (f"{_HERE}.changing:stop", "End a workflow, with its exit handlers."),
    "terminate": (f"{_HERE}.changing:terminate", "End a workflow at once."),
    "delete": (f"{_HERE}.removal:delete", "Delete workflows."),
}


_ARCHIVE: Final[Commands] = {
    "list": (f"{_HERE}.archived:list_archived", "List archived workflows."),
    "get": (f"{_HERE}.archived:get_archived", "Show one and the tree of its steps."),
    "retry": (f"{_HERE}.archived:retry_archived", "Make it again, to run what failed."),
    "resubmit": (f"{_HERE}.archived:resubmit_archived", "Run the same under a new name."),
    "delete": (f"{_HERE}.archived:delete_archived", "Take it out of the archive."),
}


@click.group(cls=LazyGroup, sections={"Commands": _WORKFLOW})
def workflow() -> None:
    """Workflows, as Argo's command line handles them.

    @latest names the youngest workflow.
    """


@click.group(cls=LazyGroup, sections={"Commands": _ARCHIVE})
def archive() -> None:
    """Workflows that have ended, in the metadata database of the local platform."""
