"""Sending what failed back to work: what succeeded stays, the rest begins anew. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kubeling.pipelines.nodes import TaskNode

__all__ = ["anew", "fresh", "restart"]


def restart(nodes: Iterable[TaskNode], epoch: int) -> list[TaskNode]:
    """The nodes that have to be done again, reset; ``epoch`` sets their pods' names apart."""
    return [fresh(node, epoch) for node in nodes if node.state != "SUCCEEDED"]


def anew(node: TaskNode, epoch: int) -> TaskNode:
    """The node as if nothing had been decided about it."""
    return TaskNode(
        node.path,
        node.name,
        node.display_name,
        node.component,
        node.parent,
        node.iteration,
        epoch=epoch,
        created_at=node.created_at,
    )


def fresh(node: TaskNode, epoch: int) -> TaskNode:
    """The node with nothing of it done; whether a task begins is decided again.

    That the run and iterations begin nobody decides anew: they have, and keep what they were given.
    """
    found = anew(node, epoch)
    if node.kind and (node.is_root or node.iteration is not None):
        found.kind, found.inputs, found.started_at = node.kind, node.inputs, node.started_at
        found.stage = "launch" if node.kind == "container" else "open"
        found.state = "PENDING" if node.kind == "container" else "RUNNING"
    return found
