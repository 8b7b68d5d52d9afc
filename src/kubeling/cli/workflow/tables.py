"""Lists of workflows as tables, names or documents."""

from __future__ import annotations

import datetime as dt
from typing import Final

import click

from kubeling.cli.workflow.display import document, status_of
from kubeling.cli.workflow.times import short_duration
from kubeling.cli.workflow.tree import table
from kubeling.kube.objects import Obj
from kubeling.workflows.variables import parameter_text

__all__ = ["print_list"]

_LONGEST: Final = 50


def print_list(
    workflows: list[Obj],
    output: str | None,
    now: dt.datetime,
    *,
    namespaces: bool = False,
    headings: bool = True,
    uids: bool = False,
) -> None:
    """Prints workflows as a table, names or a document."""
    workflows.sort(key=_order, reverse=True)
    if output in ("json", "yaml"):
        click.echo(document(workflows, output), nl=False)
    elif not workflows:
        click.echo("No workflows found")
    elif output == "name":
        click.echo("\n".join(str(workflow["metadata"]["name"]) for workflow in workflows))
    else:
        wide = output == "wide"
        head = ["NAME", "STATUS", "AGE", "DURATION", "PRIORITY", "MESSAGE"]
        head += (["P/R/C", "PARAMETERS"] if wide else []) + (["UID"] if uids else [])
        rows = [["NAMESPACE", *head] if namespaces else head] if headings else []
        for workflow in workflows:
            row = _row(workflow, now, wide=wide)
            row += [workflow["metadata"]["uid"]] if uids else []
            rows.append([workflow["metadata"]["namespace"], *row] if namespaces else row)
        click.echo(table(rows))


def _row(workflow: Obj, now: dt.datetime, *, wide: bool) -> list[str]:
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    row = [
        metadata["name"],
        status_of(workflow),
        short_duration(metadata.get("creationTimestamp"), None, now),
        short_duration(status.get("startedAt"), status.get("finishedAt"), now),
        str(workflow["spec"].get("priority") or 0),
        str(status.get("message") or ""),
    ]
    if not wide:
        return row
    phases = [n.get("phase") for n in (status.get("nodes") or {}).values() if n["type"] == "Pod"]
    running = phases.count("Running")
    pending = phases.count("Pending")
    counts = f"{pending}/{running}/{len(phases) - running - pending}"
    given = (workflow["spec"].get("arguments") or {}).get("parameters") or ()
    texts = [f"{p['name']}={_cut(parameter_text(p['value']))}" for p in given if "value" in p]
    return [*row, counts, ",".join(texts)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:32]}...{text[-15:]}"


def _order(workflow: Obj) -> tuple[bool, str]:
    finished = (workflow.get("status") or {}).get("finishedAt")
    if finished:
        return False, str(finished)
    return True, str(workflow["metadata"].get("creationTimestamp") or "")
