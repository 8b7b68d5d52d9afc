"""How a call of a template becomes a node, and how a node begins.

Kept apart from what keeps the whole going (:mod:`kubeling.workflows.execution`): here is one call.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import Final

import msgspec

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.frames import MAX_DEPTH, Call, Frame
from kubeling.workflows.gating import PROBLEMS, Gated
from kubeling.workflows.handover import Store
from kubeling.workflows.inputs import InvalidInput, bind_inputs
from kubeling.workflows.leaves import LEAF_TYPES
from kubeling.workflows.nodes import is_fulfilled, node_id, pod_name
from kubeling.workflows.outputs import MissingOutput, with_defaults
from kubeling.workflows.resources import Inputs, Node, NodeFlag, Outputs, Phase
from kubeling.workflows.scope import Scope
from kubeling.workflows.templates import Library, Resolved
from kubeling.workflows.variables import input_values, parameter_text

__all__ = ["Calling"]

_MAX_DEPTH: Final = 100


class Calling(Gated):
    """Begins calls; ``stopping`` says why no more may begin.

    ``_owners`` are the frames that wait for nodes, ``_done`` the nodes whose end they have not been
    told yet, and ``_held`` the calls that wait for other pods to end (``parallelism``).
    """

    def __init__(self, workflow: Obj, spec: Obj, store: Store, library: Library) -> None:
        super().__init__(workflow, spec, store, library)
        self.stopping = ""
        self._forget_calls()

    def _forget_calls(self) -> None:
        self._owners: dict[str, Frame] = {}
        self._done: deque[str] = deque()
        self._held: deque[tuple[Call, Frame]] = deque()

    def start(self, call: Call, owner: Frame) -> None:
        """Starts a call, or adopts its node; the owner hears of its end in any case."""
        key = node_id(self.name, call.name)
        node = self.nodes.get(key)
        if node is not None and is_fulfilled(node):
            self._own(node, owner)
            return
        try:
            if self.stopping and not owner.exempt and node is None:
                raise InvalidInput(self.stopping)
            if owner.depth + 1 >= _MAX_DEPTH:
                raise InvalidInput(MAX_DEPTH)
            resolved = call.resolved or self.library.resolve(call.raw, call.place)
            retry = self._retry_strategy(resolved) if call.attempt is None else None
            is_pod = resolved.type in LEAF_TYPES and retry is None
            if is_pod and key not in self._active and not self._has_slot():
                self._held.append((call, owner))
                return
            if node is None:
                node = self._node(call, resolved, self._inputs(call, resolved))
            if call.attempt is None:
                self.meter(node, resolved)
            self._own(node, owner)
            self.enter(node, call, resolved, owner, retry)
        except PROBLEMS as problem:
            if str(problem) == self.stopping:
                self.refuse(call, owner, self.stopping, "Failed")
            else:
                self.refuse(call, owner, owner.explain(call.name, str(problem)))

    def skip(self, call: Call, owner: Frame, phase: Phase, message: str) -> None:
        """Records that a call is not made."""
        node = self.ensure(
            call.name, call.display, "Skipped", call.boundary, phase, message=message
        )
        self._own(node, owner)

    def refuse(self, call: Call, owner: Frame, message: str, phase: Phase = "Error") -> None:
        """Records that a call cannot be made."""
        node = self.ensure(call.name, call.display, "Skipped", call.boundary)
        self._own(node, owner)
        self._active.discard(node.id)
        self.finish(node, phase, message)

    @property
    def free_slots(self) -> int | None:
        """How many pods may still begin; ``None`` without a limit."""
        if self.spec.get("suspend"):
            return 0
        limit = self.spec.get("parallelism")
        return None if limit is None else int(limit) - len(self._active)

    def _own(self, node: Node, owner: Frame) -> None:
        self._owners[node.id] = owner
        owner.joined(node)
        if is_fulfilled(node):
            self._done.append(node.id)

    def _has_slot(self) -> bool:
        free = self.free_slots
        return free is None or free > 0

    def _retry_strategy(self, resolved: Resolved) -> Obj | None:
        found: Obj | None = resolved.raw.get("retryStrategy")
        # An empty strategy is one, too: it tries again until it succeeds.
        return self.spec.get("retryStrategy") if found is None else found

    def _inputs(self, call: Call, resolved: Resolved) -> Inputs | None:
        if call.inputs is not None:
            return call.inputs
        arguments = call.raw.get("arguments") or {}
        return bind_inputs(resolved.template, arguments, call.scope, self.globals, self.library)

    def _node(self, call: Call, resolved: Resolved, inputs: Inputs | None) -> Node:
        strategy = self._retry_strategy(resolved) if call.attempt is None else None
        kinds = {"steps": "Steps", "dag": "DAG", "suspend": "Suspend", "http": "HTTP"}
        kind = "Retry" if strategy is not None else kinds.get(resolved.type, "Pod")
        node = self.ensure(
            call.name,
            call.display,
            kind,
            call.boundary,
            "Pending" if kind in ("Pod", "HTTP") else "Running",
            template_name="" if resolved.ref else resolved.name,
            template_ref=resolved.ref,
            template_scope=str(call.place),
            inputs=inputs,
        )
        if call.hooked or call.attempt is not None:
            node.node_flag = NodeFlag(
                hooked=call.hooked or None, retried=(call.attempt is not None) or None
            )
        if kind in ("Pod", "HTTP"):
            node.template_name = resolved.name
            self.progressed(node, 0, 1)
        return node

    def scope_of(self, node: Node, call: Call, resolved: Resolved) -> Scope:
        """What the tags of a node's template mean."""
        scope = self.globals.child(
            {
                **input_values(node.inputs),
                **call.extra,
                "node.name": node.name,
                "pod.name": pod_name(self.name, node.name, resolved.name),
            }
        )
        for artifact in node.inputs.artifacts if node.inputs else ():
            scope.artifacts[f"inputs.artifacts.{artifact.name}"] = msgspec.to_builtins(artifact)
        return scope

    def suspend(self, node: Node, resolved: Resolved, scope: Scope) -> None:
        """Waits to be resumed, or until its time is up."""
        declared = resolved.raw.get("outputs")
        if declared and node.outputs is None:
            # What is to be supplied stands in the node, for whoever resumes it to fill in.
            node.outputs = msgspec.convert(scope.render(declared), Outputs)
            self.touch(node)
        duration = scope.render(parameter_text(resolved.raw["suspend"].get("duration") or ""))
        if duration:
            due = parse_time(node.started_at or self.stamp()) + dt.timedelta(
                seconds=parse_duration(duration)
            )
            self.at(due, lambda: self._resume(node))

    def _resume(self, node: Node) -> None:
        """The time of a suspended node is up: what nobody supplied is its default."""
        try:
            node.outputs = with_defaults(node.outputs)
        except MissingOutput as problem:
            self.finish(node, "Error", str(problem))
        else:
            self.finish(node, "Succeeded")
