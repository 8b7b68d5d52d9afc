"""Lifecycle hooks: templates that run when something about a node becomes true.

The hooks of a node are looked at whenever its phase changes. One whose expression holds is started,
once, as a child of the node; what follows the node waits for those that were started. The hook
named ``exit`` is another thing: it runs when the node has ended (upstream:
``workflow/controller/hooks.go``, ``exit_handler.go``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kubeling.kube.objects import Obj
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.nodes import node_id
from kubeling.workflows.resources import Node
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.templates import TemplateScope

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["HookFrame", "exit_hook", "lifecycle_hooks"]


def exit_hook(raw: Mapping[str, Any], arguments: Obj) -> Obj | None:
    """What to call when a step or the Workflow ends; it is given the Workflow's arguments."""
    if raw.get("onExit"):
        return {"template": raw["onExit"], "arguments": arguments}
    hook: Obj | None = (raw.get("hooks") or {}).get("exit")
    if hook is None or hook.get("arguments"):
        return hook
    return {**hook, "arguments": arguments}


def lifecycle_hooks(raw: Mapping[str, Any]) -> dict[str, Obj]:
    """The hooks that are not exit handlers."""
    hooks: dict[str, Obj] = raw.get("hooks") or {}
    return {name: hook for name, hook in hooks.items() if name != "exit"}


class HookFrame(Frame):
    """The hooks of one node. ``scope`` tells what their expressions and arguments see."""

    def __init__(
        self,
        execution: Execution,
        node: Node,
        hooks: Mapping[str, Obj],
        scope: Callable[[], Scope],
        owner: Frame,
        place: TemplateScope,
        boundary: str,
    ) -> None:
        self.exempt = owner.exempt
        self.depth = owner.depth
        self.deadline = owner.deadline
        self.problem = ""
        self._execution = execution
        self._node = node
        self._waiting = dict(hooks)
        self._scope = scope
        self._place = place
        self._boundary = boundary
        self._running = 0
        self._after: Callable[[], None] | None = None

    def look(self) -> None:
        """Starts the hooks whose time has come, and those that had been started before a crash."""
        execution = self._execution
        for hook_name, hook in list(self._waiting.items()):
            name = f"{self._node.name}.hooks.{hook_name}"
            scope = self._scope()
            if node_id(execution.name, name) not in execution.nodes:
                if execution.stopping and not self.exempt:
                    continue
                if not self._holds(hook.get("expression") or "", scope):
                    continue
            del self._waiting[hook_name]
            self._running += 1
            display = f"{self._node.display_name}.hooks.{hook_name}"
            call = Call(name, display, hook, scope, self._place, self._boundary, hooked=True)
            execution.start(call, self)

    def then(self, after: Callable[[], None]) -> None:
        """Calls ``after`` when no hook runs."""
        if self._running:
            self._after = after
        else:
            after()

    def joined(self, node: Node) -> None:
        self._execution.connect([self._node.id], node.id)

    def child_done(self, node: Node) -> None:
        self._running -= 1
        if not self._running and self._after is not None:
            after, self._after = self._after, None
            after()

    def _holds(self, expression: str, scope: Scope) -> bool:
        try:
            return scope.decide(expression)
        except Unresolved as problem:
            self.problem = str(problem)
            return False
