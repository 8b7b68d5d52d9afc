"""The steps of a workflow as a tree, drawn as Argo's command line draws it.

Upstream: ``cmd/argo/commands/common/get.go``. Step groups are not lines of their own but the way
their steps branch off; of a retry with one attempt only the attempt is shown.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import click

from kubeling.cli.workflow.times import short_duration
from kubeling.kube.objects import Obj
from kubeling.workflows.nodes import node_id, pod_name
from kubeling.workflows.operations.node_selectors import NodeSelector, template_of

__all__ = ["WIDTHS", "TreeOptions", "table", "tree_lines"]

_MARKS: Final[dict[str, tuple[str, str]]] = {
    "Pending": ("◷", "yellow"),
    "Running": ("●", "cyan"),
    "Succeeded": ("✔", "green"),
    "Skipped": ("○", "white"),
    "Omitted": ("○", "white"),
    "Failed": ("✖", "red"),
    "Error": ("⚠", "red"),
}
_SUSPENDED: Final = ("ǁ", "cyan")
_BOUNDARIES: Final = ("DAG", "Steps")
_PARENTS: Final = ("StepGroup", "Retry")
_HIDDEN: Final = "TaskGroup"
_INDEX: Final = re.compile(r"\((\d+)(?::.*)?\)$", re.DOTALL)
_UNICODE: Final = {"only": "──", "first": "┬─", "last": "└─", "more": "├─", "bar": "│ "}
_ASCII: Final = {"only": "--", "first": "+-", "last": "`-", "more": "|-", "bar": "| "}

Width = Literal["", "wide", "short"]
WIDTHS: Final[dict[str | None, Width]] = {"wide": "wide", "short": "short"}


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """What of the tree is shown, and how."""

    width: Width = ""
    selector: NodeSelector | None = None
    plain: bool = False


@dataclass(slots=True)
class _Branch:
    node: Obj
    children: list[_Branch] = field(default_factory=list)


def tree_lines(workflow: Obj, options: TreeOptions, now: dt.datetime) -> list[list[str]]:
    """Rows of cells, the headings first; empty where nothing has run yet."""
    name = workflow["metadata"]["name"]
    nodes: dict[str, Obj] = (workflow.get("status") or {}).get("nodes") or {}
    if name not in nodes:
        return []
    branches = _branches(nodes)
    head = ["STEP", "TEMPLATE", "PODNAME", "DURATION"]
    head += {"wide": ["ARTIFACTS", "MESSAGE", "RESOURCESDURATION", "NODENAME"]}.get(
        options.width, ["MESSAGE", "NODENAME"] if options.width == "short" else ["MESSAGE"]
    )

    def row(node: Obj, prefix: str) -> list[str]:
        return _row(name, node, prefix, options, now)

    rows = [head, *_drawn(branches[name], " ", " ", options, row)]
    handler = branches.get(node_id(name, f"{name}.onExit"))
    if handler is not None:
        rows += [[], *_drawn(handler, " ", " ", options, row)]
    return rows


def table(rows: list[list[str]]) -> str:
    """Rows with their cells below one another; colours take no room."""
    plain = [[click.unstyle(cell) for cell in row] for row in rows]
    columns = max(map(len, plain), default=0)
    widths = [
        max((len(row[i]) for row in plain if i < len(row)), default=0) for i in range(columns)
    ]
    lines = []
    for row, bare in zip(rows, plain, strict=True):
        cells = [
            cell + " " * (widths[i] - len(bare[i]) + 2) if i < len(row) - 1 else cell
            for i, cell in enumerate(row)
        ]
        lines.append("".join(cells).rstrip())
    return "\n".join(lines)


def _branches(nodes: dict[str, Obj]) -> dict[str, _Branch]:
    """Every node with the nodes shown below it."""
    branches = {key: _Branch(node) for key, node in nodes.items() if node["type"] != _HIDDEN}
    groups = {
        child: key
        for key, node in nodes.items()
        if node["type"] in _PARENTS
        for child in node.get("children") or ()
    }
    for key, branch in branches.items():
        above = groups.get(key) or branch.node.get("boundaryID")
        if above in branches:
            branches[above].children.append(branch)
    for branch in branches.values():
        branch.children.sort(key=lambda child: _order(child.node))
    return branches


def _order(node: Obj) -> tuple[str, str, int]:
    """By start; of those that started together by name, and of a loop by number."""
    shown = str(node.get("displayName") or "")
    index = _INDEX.search(shown)
    started = str(node.get("startedAt") or "9")
    return (started, shown[: index.start()], int(index[1])) if index else (started, shown, -1)


def _drawn(
    branch: _Branch,
    prefix: str,
    child_prefix: str,
    options: TreeOptions,
    row: Callable[[Obj, str], list[str]],
) -> Iterator[list[str]]:
    hidden, branches_off = _is_hidden(branch.node, options)
    if not hidden:
        yield row(branch.node, prefix)
    signs = _ASCII if options.plain else _UNICODE
    children = [child for child in branch.children if _has_lines(child, options)]
    last = len(children) - 1
    for number, child in enumerate(children):
        part, bar = "", ""
        if hidden and branches_off:
            part, bar = _sign(signs, number, last)
        elif not hidden:
            part = signs["last"] if number == last else signs["more"]
            bar = "  " if number == last else signs["bar"]
        begin = prefix if hidden and number == 0 else child_prefix
        yield from _drawn(child, begin + part, child_prefix + bar, options, row)


def _sign(signs: dict[str, str], number: int, last: int) -> tuple[str, str]:
    if last == 0:
        return signs["only"], "  "
    if number == 0:
        return signs["first"], signs["bar"]
    return (signs["last"], "  ") if number == last else (signs["more"], signs["bar"])


def _has_lines(branch: _Branch, options: TreeOptions) -> bool:
    hidden, _ = _is_hidden(branch.node, options)
    return not hidden or any(_has_lines(child, options) for child in branch.children)


def _is_hidden(node: Obj, options: TreeOptions) -> tuple[bool, bool]:
    """Whether a node has no line, and whether what is below it branches off all the same."""
    if node["type"] == "StepGroup":
        return True, True
    if node["type"] == "Retry" and len(node.get("children") or ()) == 1:
        return True, False
    if node["type"] == "Skipped" and node.get("phase") == "Omitted":
        return True, False
    return options.selector is not None and not options.selector.matches(node), False


def _row(
    workflow: str, node: Obj, prefix: str, options: TreeOptions, now: dt.datetime
) -> list[str]:
    phase = str(node.get("phase") or "")
    waits = node["type"] == "Suspend" and phase in ("", "Pending", "Running")
    mark, colour = _SUSPENDED if waits else _MARKS.get(phase, ("?", "white"))
    shown = f"{prefix}{click.style(phase if options.plain else mark, colour)} {node['displayName']}"
    reference = node.get("templateRef") or {}
    template = str(node.get("templateName") or "")
    if reference:
        template = f"{reference.get('name')}/{reference.get('template')}"
    is_pod = node["type"] == "Pod"
    pod = pod_name(workflow, node["name"], template_of(node)) if is_pod else ""
    took = short_duration(node.get("startedAt"), node.get("finishedAt"), now) if is_pod else ""
    cells = [shown, template, pod, took]
    message = str(node.get("message") or "")
    host = str(node.get("hostNodeName") or "") if is_pod else ""
    if options.width == "wide":
        artifacts = (node.get("outputs") or {}).get("artifacts") or ()
        names = ",".join(str(artifact["name"]) for artifact in artifacts)
        resources = node.get("resourcesDuration") or {}
        amounts = ",".join(f"{value}*{key}" for key, value in resources.items())
        return [*cells, names, message, amounts, host]
    return [*cells, message, host] if options.width == "short" else [*cells, message]
