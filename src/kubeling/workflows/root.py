"""The outermost frame: the entrypoint, then the exit handler, then the Workflow's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.hooks import HookFrame, exit_hook, lifecycle_hooks
from kubeling.workflows.nodes import is_failed
from kubeling.workflows.resources import Node
from kubeling.workflows.scope import Unresolved
from kubeling.workflows.variables import failures

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["RootFrame"]


class RootFrame(Frame):
    """Runs the entrypoint, and the Workflow's hooks as its status changes."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self._hooks: HookFrame | None = None

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

    def joined(self, node: Node) -> None:
        execution = self.execution
        if hooks := lifecycle_hooks(execution.spec):
            place = execution.library.local
            self._hooks = HookFrame(
                execution, node, hooks, lambda: execution.globals, self, place, ""
            )
        self.child_changed(node)

    def child_changed(self, node: Node) -> None:
        self.execution.globals.values["workflow.status"] = node.phase
        if self._hooks is not None:
            self._hooks.look()

    def child_done(self, node: Node) -> None:
        execution = self.execution
        execution.end_daemons("")
        begun = parse_time(execution.started_at)
        ended = parse_time(node.finished_at) if node.finished_at else execution.now
        execution.globals.values.update(
            {
                "workflow.status": _status_of(node),
                "workflow.failures": failures(execution.name, list(execution.nodes.values())),
                "workflow.duration": f"{(ended - begun).total_seconds():f}",
            }
        )
        if self._hooks is None:
            self._exit(node)
        else:
            self._hooks.look()
            self._hooks.then(lambda: self._exit(node))

    def _exit(self, node: Node) -> None:
        execution = self.execution
        if node.type == "Skipped" and node.phase == "Error":
            # Nothing has begun, so nothing is to be tidied up.
            execution.end("Error", f"error in entry template execution: {node.message}")
            return
        hook = exit_hook(execution.spec, execution.spec.get("arguments") or {})
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
        name = f"{execution.name}.onExit"
        call = Call(name, name, hook, execution.globals, execution.library.local, hooked=True)
        try:
            wanted = not hook.get("expression") or execution.globals.decide(hook["expression"])
        except Unresolved as problem:
            execution.refuse(call, self, str(problem))
            return
        if wanted:
            execution.start(call, self)
        else:
            _end(execution, self._root, None)

    def child_done(self, node: Node) -> None:
        self.execution.end_daemons("")
        _end(self.execution, self._root, node)


def _status_of(root: Node) -> str:
    return "Succeeded" if root.phase in ("Skipped", "Omitted") else root.phase


def _end(execution: Execution, root: Node, handler: Node | None) -> None:
    if handler is not None and is_failed(handler) and not is_failed(root):
        execution.end(handler.phase, handler.message)
    elif execution.stopping and is_failed(root):
        execution.end("Failed", execution.stopping)
    else:
        phase = "Succeeded" if root.phase in ("Skipped", "Omitted") else root.phase
        execution.end(phase, root.message)
