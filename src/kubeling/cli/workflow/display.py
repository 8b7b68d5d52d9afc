"""A workflow as ``get`` prints it: what it is, then the tree of its steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from kubeling.cli.workflow.times import long_duration, moment
from kubeling.cli.workflow.tree import WIDTHS, TreeOptions, table, tree_lines
from kubeling.kube import yaml
from kubeling.kube.objects import Obj
from kubeling.workflows.operations.interventions import is_suspended
from kubeling.workflows.variables import parameter_text

__all__ = ["document", "print_workflow", "shown", "status_of"]


def print_workflow(
    workflow: Obj, output: str | None, now: dt.datetime, options: TreeOptions | None = None
) -> None:
    """Prints a workflow in one of the formats."""
    if output == "name":
        click.echo(workflow["metadata"].get("name") or "")
    elif output in ("json", "yaml"):
        click.echo(document(workflow, output), nl=False)
    else:
        base = options or TreeOptions()
        width = WIDTHS.get(output, "")
        click.echo(shown(workflow, TreeOptions(width, base.selector, base.plain), now))


def document(value: Any, output: str) -> str:
    """Something as JSON or YAML."""
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    return yaml.dump(value)


def shown(workflow: Obj, options: TreeOptions, now: dt.datetime) -> str:
    """The text of ``get``."""
    rows = tree_lines(workflow, options, now)
    if options.width == "short" and rows:
        return table(rows)
    lines = [f"{label:<20} {text}".rstrip() for label, text in _facts(workflow, now)]
    return "\n".join([*lines, "", table(rows)] if rows else lines)


def status_of(workflow: Obj) -> str:
    """The phase in words."""
    phase = str((workflow.get("status") or {}).get("phase") or "")
    if phase == "Running" and is_suspended(workflow):
        return "Running (Suspended)"
    if phase == "Failed" and workflow["spec"].get("shutdown"):
        return "Failed (Terminated)"
    return phase or "Pending"


def _facts(workflow: Obj, now: dt.datetime) -> Iterator[tuple[str, str]]:
    metadata, spec = workflow["metadata"], workflow["spec"]
    status = workflow.get("status") or {}
    stored = status.get("storedWorkflowTemplateSpec") or {}
    yield "Name:", str(metadata.get("name") or metadata.get("generateName") or "")
    yield "Namespace:", str(metadata.get("namespace") or "")
    account = spec.get("serviceAccountName") or stored.get("serviceAccountName")
    yield "ServiceAccount:", account or "unset (will run with the default ServiceAccount)"
    yield "Status:", status_of(workflow)
    if status.get("message"):
        yield "Message:", status["message"]
    conditions = status.get("conditions") or ()
    if conditions:
        yield "Conditions:", ""
    for condition in conditions:
        yield f" {condition['type']}", condition.get("message") or condition["status"]
    if metadata.get("creationTimestamp"):
        yield "Created:", moment(metadata["creationTimestamp"], now)
    started, finished = status.get("startedAt"), status.get("finishedAt")
    if started:
        yield "Started:", moment(started, now)
    if finished:
        yield "Finished:", moment(finished, now)
    if started:
        yield "Duration:", long_duration(started, finished, now)
    if status.get("progress"):
        yield "Progress:", status["progress"]
    arguments = (spec.get("arguments") or stored.get("arguments") or {}).get("parameters") or ()
    yield from _parameters("Parameters:", arguments)
    outputs = status.get("outputs") or {}
    yield from _parameters("Output Parameters:", outputs.get("parameters") or ())
    if outputs.get("artifacts"):
        yield "Output Artifacts:", ""
    for artifact in outputs.get("artifacts") or ():
        location: Obj = artifact.get("s3") or artifact.get("raw") or {}
        yield f"  {artifact['name']}:", str(location.get("key") or location.get("data") or "")


def _parameters(title: str, parameters: Any) -> Iterator[tuple[str, str]]:
    given = [entry for entry in parameters if entry.get("value") is not None]
    if given:
        yield title, ""
    for entry in given:
        yield f"  {entry['name']}:", parameter_text(entry["value"])
