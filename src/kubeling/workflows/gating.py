"""Nodes and Workflows that have to wait before they begin (see :mod:`kubeling.workflows.gates`)."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.workflows.containers import PodError
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.gates import Gates, MemoRequest, Waiting
from kubeling.workflows.handover import Store
from kubeling.workflows.inputs import InvalidInput
from kubeling.workflows.locks import Lock, Refusal
from kubeling.workflows.measuring import Measured
from kubeling.workflows.resources import Node, NodeSynchronizationStatus, Outputs, Phase
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.templates import Library, Resolved, UnknownTemplate

__all__ = ["PROBLEMS", "Gated"]

PROBLEMS: Final = (InvalidInput, PodError, Unresolved, UnknownTemplate, ValueError)
"""What can be wrong with a call; the message is its node's."""


class Gated(Measured):
    """Lets nodes through their gates: locks first, then the look into a cache."""

    def __init__(self, workflow: Obj, spec: Obj, store: Store, library: Library) -> None:
        super().__init__(workflow, spec, store, library)
        self.message: str = (workflow.get("status") or {}).get("message") or ""
        self.gates = Gates(workflow, workflow.get("status") or {})

    @abstractmethod
    def open(self) -> None:
        """Begins with the entrypoint."""

    @abstractmethod
    def end(self, phase: Phase, message: str) -> None:
        """Ends the Workflow."""

    @abstractmethod
    def run(
        self, node: Node, call: Call, resolved: Resolved, owner: Frame, retry: Obj | None
    ) -> None:
        """Runs a node that waits for nothing more."""

    @abstractmethod
    def scope_of(self, node: Node, call: Call, resolved: Resolved) -> Scope:
        """What the tags of a node's template mean."""

    def blocked(self, node_id: str, refusal: Refusal, holders: dict[Lock, list[str]]) -> None:
        """Notes that a node, or the Workflow (``""``), waits for a lock."""
        if not self.gates.blocked(node_id, refusal.lock, holders):
            return
        if not node_id:
            self.message = refusal.message
            self.status_changed = True
            return
        node = self.nodes[node_id]
        node.synchronization_status = NodeSynchronizationStatus(refusal.lock)
        node.message = refusal.message
        self.touch(node)

    def waits_for_locks(self) -> bool:
        """Whether the Workflow as a whole needs locks that it does not have yet."""
        wanted = self.globals.render(self.spec.get("synchronization") or {})
        waiting = Waiting(
            (),
            self.open,
            lambda why: self.end("Failed", f"Failed to acquire the synchronization lock. {why}"),
        )
        if not self.gates.lock("", wanted, waiting):
            return False
        if self.spec.get("shutdown") == "Terminate":
            self.end("Failed", "Stopped with strategy 'Terminate'")
        elif not self.started_at:
            self.phase = "Pending"
            self.status_changed = True
        return True

    def enter(
        self, node: Node, call: Call, resolved: Resolved, owner: Frame, retry: Obj | None
    ) -> None:
        """Runs a node, or first waits for its locks and looks into its cache."""
        raw = resolved.raw
        gated = call.attempt is None and (raw.get("synchronization") or raw.get("memoize"))
        if gated and self._wait(node, call, resolved, owner, retry):
            return
        self.run(node, call, resolved, owner, retry)

    def _wait(
        self, node: Node, call: Call, resolved: Resolved, owner: Frame, retry: Obj | None
    ) -> bool:
        scope = self.scope_of(node, call, resolved)
        go = partial(self._go_on, node, call, resolved, owner, retry)
        fail = partial(self.finish, node, "Error")
        wanted = scope.render(resolved.raw.get("synchronization") or {})
        if self.gates.lock(node.id, wanted, Waiting((), go, fail, node.type in ("Pod", "HTTP"))):
            node.phase = "Pending"
            self.touch(node)
            return True
        memoize: Obj | None = resolved.raw.get("memoize")
        if memoize is None or node.memoization_status is not None:
            return False
        asked: Obj = scope.render(memoize)
        self.gates.lookups[node.id] = MemoRequest(
            cache=((asked.get("cache") or {}).get("configMap") or {}).get("name") or "",
            key=str(asked.get("key") or ""),
            max_age=str(asked.get("maxAge") or ""),
            go=go,
            hit=partial(self._take_from_cache, node),
            fail=fail,
            node=node,
        )
        return True

    def _go_on(
        self, node: Node, call: Call, resolved: Resolved, owner: Frame, retry: Obj | None
    ) -> None:
        if node.synchronization_status is not None or node.phase == "Pending":
            node.synchronization_status = None
            node.message = ""
            node.phase = "Pending" if node.type in ("Pod", "HTTP") else "Running"
        self.touch(node)
        try:
            self.enter(node, call, resolved, owner, retry)
        except PROBLEMS as problem:
            self.finish(node, "Error", str(problem))

    def _take_from_cache(self, node: Node, outputs: Outputs) -> None:
        node.outputs = outputs
        self.finish(node, "Succeeded")
