"""Where a run stands: what is under way and what each group of tasks still waits for.

All of it follows from the nodes and is made again from them, so it is kept in memory only. It is
what makes the cost of an event independent of the size of the run: whoever ends tells the group it
belongs to, and nobody else is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from kubeling.pipelines.nodes import TaskNode

__all__ = ["Frontier", "LoopProgress"]


@dataclass(slots=True)
class LoopProgress:
    """A loop: the numbers of the iterations that have not begun, and how many are under way."""

    waiting: deque[int]
    active: int = 0


@dataclass(slots=True)
class Frontier:
    """The open groups, the containers under way, and how much of the run there is to tell of."""

    unfinished: dict[str, int] = field(default_factory=dict)
    """By the path of an open DAG: how many of its tasks have not ended."""
    loops: dict[str, LoopProgress] = field(default_factory=dict)
    due: dict[str, TaskNode] = field(default_factory=dict)
    """Containers that need something done: an answer from the cache, a pod, another attempt."""
    in_pods: dict[str, TaskNode] = field(default_factory=dict)
    ended: deque[TaskNode] = field(default_factory=deque)
    """Nodes whose group has not been told yet."""
    leaves: int = 0
    leaves_ended: int = 0

    def count(self, nodes: Iterable[TaskNode]) -> None:
        """Counts anew how many leaves there are and how many have ended."""
        leaves = [n for n in nodes if n.kind not in ("dag", "loop") and not n.is_root]
        self.leaves, self.leaves_ended = len(leaves), sum(n.final for n in leaves)

    def place(self, node: TaskNode) -> None:
        """Files a container under what its stage says it waits for."""
        self.due.pop(node.path, None)
        self.in_pods.pop(node.path, None)
        if node.stage == "pod":
            self.in_pods[node.path] = node
        elif node.stage in ("cache", "launch", "backoff"):
            self.due[node.path] = node
