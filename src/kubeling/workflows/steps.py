"""``steps`` templates: groups one after another, the steps of a group side by side."""

from __future__ import annotations

from kubeling.kube.objects import Obj
from kubeling.workflows.composite import FAIL_FAST, CompositeFrame, StepRun
from kubeling.workflows.frames import MAX_DEPTH
from kubeling.workflows.nodes import is_fulfilled
from kubeling.workflows.resources import Node, Phase

__all__ = ["StepsFrame"]


class StepsFrame(CompositeFrame):
    """Runs the groups of a steps template."""

    prefix = "steps"

    def open(self) -> None:
        """Begins with the first group."""
        self._groups: list[list[Obj]] = self.resolved.raw["steps"]
        self._number = -1
        self._last: list[str] = []
        self._next()

    def node_name(self, step: str) -> str:
        return f"{self._group.name}.{step}"

    def _next(self) -> None:
        """Opens the next group; groups without steps count as done."""
        self._number += 1
        if self._number == len(self._groups):
            self._outbound()
            self.finish("Succeeded")
            return
        self._group: Node = self.execution.ensure(
            f"{self.node.name}[{self._number}]",
            f"[{self._number}]",
            "StepGroup",
            self.node.id,
            template_scope=self.node.template_scope,
        )
        self.execution.connect(self._last or [self.node.id], self._group.id)
        steps = self._groups[self._number]
        self._open_steps = len(steps)
        self._members: list[StepRun] = []
        if not steps:
            self._close()
        for raw in list(steps):
            self.run_step(raw, [self._group.id])

    def step_done(self, run: StepRun) -> None:
        self._members.append(run)
        self._open_steps -= 1
        if self._open_steps == 0:
            self._close()

    def _close(self) -> None:
        failed = next(filter(None, map(self.failed_node, self._members)), None)
        group = self._group
        self._last = [
            leaf for run in self._members for key in run.nodes
            for leaf in self.execution.outbound(key)
        ] or [group.id]  # fmt: skip
        if failed is not None:
            phase: Phase = "Failed"
            message = f"child '{failed.id}' failed"
            if failed.type == "Skipped" and failed.phase == "Error":
                # It could not even begin.
                phase, message = "Error", _deemed(failed)
            if not is_fulfilled(group):
                self.execution.finish(group, phase, message)
            self._outbound()
            self.finish("Failed", message)
            return
        if not is_fulfilled(group):
            self.execution.finish(group, "Succeeded")
        for run in self._members:
            self.learn(run)
        self._next()

    def halted(self) -> None:
        if not is_fulfilled(self._group):
            self.execution.finish(self._group, "Failed", FAIL_FAST)
        super().halted()

    def _outbound(self) -> None:
        if self.node.outbound_nodes != self._last:
            self.node.outbound_nodes = self._last
            self.execution.changed.add(self.node.id)


def _deemed(child: Node) -> str:
    plain = ("Invalid 'when' expression", "Expected boolean evaluation", MAX_DEPTH)
    if child.message.startswith(plain):
        return child.message
    return f"step group deemed errored due to child {child.name} error: {child.message}"
