"""Ending a run before its time: on a user's word, or at its deadline.

What waits is canceled and pods are stopped, but exit tasks whose group has begun still run, and all
that they are made of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kubeling.pipelines.ir import TaskSpec
from kubeling.pipelines.nodes import TaskNode

if TYPE_CHECKING:
    from kubeling.pipelines.execution import Actions, Execution

__all__ = ["Stopping"]


class Stopping:
    """What a stopping execution does, and what it leaves alone."""

    def __init__(self, execution: Execution) -> None:
        self._run = execution
        self._stopped = False

    def watch_deadline(self, actions: Actions) -> None:
        """Notes whether the run has taken too long, or when it will have."""
        seconds, begun = self._run.facts.deadline_seconds, self._run.root.started_at
        if not seconds or begun is None or self._run.root.final:
            return
        deadline = begun + dt.timedelta(seconds=seconds)
        if self._run.now >= deadline:
            self._run.overdue = True
        else:
            actions.wake(deadline)

    def stop(self, actions: Actions) -> None:
        """Cancels what has not begun, and names the pods that are to stop."""
        if not self._stopped:
            self._stopped = True
            self._cancel_waiting()
        for node in list(self._run.frontier.due.values()):
            if node.stage == "pod":
                self._run.frontier.place(node)
            elif self.halted(node):
                self._run.end(node, "CANCELED")
        actions.stop += [node for node in self._run.frontier.in_pods.values() if self.halted(node)]

    def _cancel_waiting(self) -> None:
        """Once: what ends later is looked at when it does."""
        execution = self._run
        for path in list(execution.frontier.unfinished):
            execution.dags.cancel_waiting(execution.nodes[path])
        for path in list(execution.frontier.loops):
            execution.loops.end_if_done(execution.nodes[path])

    def may_yet_begin(self, node: TaskNode, task: TaskSpec, upstream: Iterable[TaskNode]) -> bool:
        """Whether this cleans up after something that has begun, or is a part of what does."""
        if task.runs_after_failure and any(before.kind for before in upstream):
            return True
        return self._is_last_rite(self._run.nodes[node.parent])

    def halted(self, node: TaskNode) -> bool:
        """Whether a node that has begun is not to go on."""
        return self._run.stopping and not self._is_last_rite(node)

    def _is_last_rite(self, node: TaskNode) -> bool:
        """Whether this is an exit task or within one: those run also when the run is stopped."""
        while not node.is_root:
            if node.iteration is None and self._run.task_of(node).runs_after_failure:
                return True
            node = self._run.nodes[node.parent]
        return False
