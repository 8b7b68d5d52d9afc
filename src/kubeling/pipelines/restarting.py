"""Sending a run that failed back to work: what succeeded stays, the rest begins anew. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kubeling.pipelines.nodes import TaskNode

__all__ = ["restart"]


def restart(nodes: Iterable[TaskNode], epoch: int) -> list[TaskNode]:
    """The nodes that have to be done again, reset; ``epoch`` sets their pods' names apart."""
    reset = []
    for node in nodes:
        if node.state != "SUCCEEDED":
            reset.append(_fresh(node, epoch))
    return reset


def _fresh(node: TaskNode, epoch: int) -> TaskNode:
    fresh = TaskNode(
        node.path,
        node.name,
        node.display_name,
        node.component,
        node.parent,
        node.iteration,
        epoch=epoch,
        created_at=node.created_at,
    )
    if node.is_root or node.iteration is not None:
        # Nobody decides anew whether these start: they have, and keep what they were given.
        fresh.kind, fresh.inputs, fresh.started_at = node.kind, node.inputs, node.started_at
        fresh.stage = "launch" if node.kind == "container" else "open"
        fresh.state = "PENDING" if node.kind == "container" else "RUNNING"
    return fresh
