"""The outermost frame: the entrypoint, then the exit handler, then the Workflow's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.frames import Call, Frame, exit_hook
from kubeling.workflows.nodes import is_failed
from kubeling.workflows.resources import Node
from kubeling.workflows.variables import failures

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["RootFrame"]


class RootFrame(Frame):
    """Runs the entrypoint."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def open(self) -> None:
        """Starts, or finds, the root node."""
        execution = self.execution
        raw: Obj = {
            "template": execution.spec.get("entrypoint") or "",
            "arguments": execution.spec.get("arguments") or {},
        }
        name = execution.name
        call = Call(name, name, raw, execution.globals, execution.library.local)
        execution.start(call, self)

    def child_done(self, node: Node) -> None:
        execution = self.execution
        hook = exit_hook(execution.spec)
        if hook is None or execution.spec.get("shutdown") == "Terminate":
            _end(execution, node, None)
        else:
            ExitFrame(execution, node).open(hook)


class ExitFrame(Frame):
    """Runs the exit handler; its failure is the Workflow's."""

    exempt = True

    def __init__(self, execution: Execution, root: Node) -> None:
        self.execution = execution
        self._root = root

    def open(self, hook: Obj) -> None:
        """Starts, or finds, the exit handler's node."""
        execution = self.execution
        root = self._root
        begun = parse_time(execution.started_at)
        ended = parse_time(root.finished_at) if root.finished_at else execution.now
        execution.globals.values.update(
            {
                "workflow.status": root.phase,
                "workflow.failures": failures(list(execution.nodes.values())),
                "workflow.duration": f"{(ended - begun).total_seconds():f}",
            }
        )
        expression = hook.get("expression")
        if expression and not execution.globals.evaluate(expression):
            _end(execution, root, None)
            return
        name = f"{execution.name}.onExit"
        raw = {"arguments": execution.spec.get("arguments") or {}, **hook}
        call = Call(name, name, raw, execution.globals, execution.library.local, hooked=True)
        execution.start(call, self)

    def child_done(self, node: Node) -> None:
        _end(self.execution, self._root, node)


def _end(execution: Execution, root: Node, handler: Node | None) -> None:
    if handler is not None and is_failed(handler) and not is_failed(root):
        execution.end(handler.phase, handler.message)
    elif execution.stopping and is_failed(root):
        execution.end("Failed", execution.stopping)
    else:
        phase = "Succeeded" if root.phase in ("Skipped", "Omitted") else root.phase
        execution.end(phase, root.message)
