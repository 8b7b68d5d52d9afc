"""One Workflow as it runs: nodes in, pods observed, nodes and pods out.

The execution is a pure function of the Workflow, its nodes and the pods seen; it does no I/O. What
it keeps in memory (frames, counters) is there to make each step cost the same however many there
are: news about a pod goes to the frame that started it and no further. All of it can be rebuilt
from the nodes at any time, which is what happens after a crash: opening a frame starts every call
again, and a call whose node exists is adopted instead of run.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections import deque
from collections.abc import Callable, Iterable

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.calling import Calling
from kubeling.workflows.dag import DagFrame
from kubeling.workflows.errands import ErrandResult
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.handover import Store
from kubeling.workflows.inputs import InvalidInput, workflow_parameters
from kubeling.workflows.leaves import Actions
from kubeling.workflows.nodes import is_failed, is_fulfilled
from kubeling.workflows.observation import PodObservation
from kubeling.workflows.resources import Node, Phase
from kubeling.workflows.retry import RetryFrame
from kubeling.workflows.root import RootFrame
from kubeling.workflows.scope import Scope
from kubeling.workflows.steps import StepsFrame
from kubeling.workflows.templates import Library, Resolved
from kubeling.workflows.variables import parameter_text, workflow_values

__all__ = ["Actions", "Execution"]


class Execution(Calling):
    """Runs one Workflow; ``advance`` is the only thing to call.

    ``spec`` is the Workflow's spec with its WorkflowTemplate merged in. ``changed`` holds the ids
    of nodes that differ from what was last written, ``status_changed`` tells about the rest.
    """

    def __init__(self, workflow: Obj, spec: Obj, store: Store, library: Library) -> None:
        status = workflow.get("status") or {}
        super().__init__(workflow, spec, store, library)
        self.finished_at: str = status.get("finishedAt") or ""
        self.claims: list[Obj] = status.get("persistentVolumeClaims") or []
        self.answers: deque[Callable[[], None]] = deque()
        self._stale = True
        self._reset()

    @property
    def finished(self) -> bool:
        """Whether the Workflow has come to its end."""
        return self.phase in ("Succeeded", "Failed", "Error")

    @property
    def metadata(self) -> Obj:
        """Labels and annotations the spec wants on the Workflow, computed."""
        wanted = self.spec.get("workflowMetadata") or {}
        labels: Obj = self.globals.render(wanted.get("labels") or {})
        for name, source in (wanted.get("labelsFrom") or {}).items():
            labels[name] = parameter_text(self.globals.evaluate(source.get("expression") or ""))
        return {
            "labels": labels,
            "annotations": self.globals.render(wanted.get("annotations") or {}),
        }

    @property
    def wake_at(self) -> dt.datetime | None:
        """When something is due even if nothing happens."""
        return self._timers[0][0] if self._timers else None

    def forget_frames(self) -> None:
        """Rebuilds from the nodes on the next call, after something outside has changed."""
        self._stale = True

    def advance(
        self,
        now: dt.datetime,
        seen: Iterable[PodObservation] = (),
        results: Iterable[ErrandResult] = (),
    ) -> Actions:
        """Takes in news and returns what is to be done.

        Raises :class:`~.templates.Missing` when an object has to be fetched first; call again
        after giving it to the library. Nothing is lost in between.
        """
        self.now = now
        for observation in seen:
            self._seen[observation.node_id] = observation
            if not self._stale:
                self._observe(observation)
        try:
            if self._stale:
                self._rebuild()
            self._tell_duration()
            while self.answers:
                self.answers.popleft()()
            for result in results:
                self._take_result(result)
            self._fire_timers()
            self._settle()
        except BaseException:
            self._stale = True
            raise
        actions, self._actions = self._actions, Actions()
        return actions

    def _tell_duration(self) -> None:
        """Upstream's ``workflow.duration``: how long it has run so far, in seconds."""
        if self.started_at and not self.finished:
            ran = (self.now - parse_time(self.started_at)).total_seconds()
            self.globals.values["workflow.duration"] = f"{ran:f}"

    # -- what frames call --------------------------------------------------------------------

    def finish(self, node: Node, phase: Phase, message: str = "") -> None:
        """Brings a node to its end, once."""
        if is_fulfilled(node):
            return
        node.phase = phase
        node.message = message
        node.finished_at = self.stamp()
        self.changed.add(node.id)
        self.export(node)
        self.end_daemons(node.id)
        self.gates.ended(node.id)
        self.measure(node)
        if node.memoization_status is not None and phase == "Succeeded":
            self._actions.remember[node.id] = node
        if node.type in ("Pod", "HTTP"):
            self._active.discard(node.id)
            self.progress_files.pop(node.id, None)
            self._end_containers(node)
            if phase == "Succeeded":
                self.completed(node)
            elif is_failed(node):
                self._actions.failed[node.id] = node
        self._done.append(node.id)

    def at(self, moment: dt.datetime, action: Callable[[], None]) -> None:
        """Calls ``action`` when the moment has come."""
        self._order += 1
        heapq.heappush(self._timers, (moment, self._order, action))

    def announce(self, node: Node) -> None:
        self._done.append(node.id)

    def end(self, phase: Phase, message: str) -> None:
        """Ends the Workflow."""
        self.phase = phase
        self.message = message
        self.finished_at = self.stamp()
        self.status_changed = True
        self.measure_workflow(begin=False)
        self._timers.clear()
        self._held.clear()
        self.gates.close()

    def run(
        self, node: Node, call: Call, resolved: Resolved, owner: Frame, retry: Obj | None
    ) -> None:
        scope = self.scope_of(node, call, resolved)
        if retry is not None:
            frame = RetryFrame(self, node, call, resolved, scope, owner, retry)
            self._retries[node.id] = frame
            frame.open()
            return
        match resolved.type:
            case "steps":
                StepsFrame(self, node, resolved, scope, owner).open()
            case "dag":
                DagFrame(self, node, resolved, scope, owner).open()
            case "suspend":
                self.suspend(node, resolved, scope)
            case _:
                self._pod(node, call, resolved, scope, owner)

    # -- news --------------------------------------------------------------------------------

    def notify(self, node: Node) -> None:
        if (owner := self._owners.get(node.id)) is not None:
            owner.child_changed(node)

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _settle(self) -> None:
        """Hands ends to the frames that wait for them until nothing moves."""
        while True:
            while self._done:
                self._tell(self.nodes[self._done.popleft()])
            if not self._held or not (self.stopping or self._has_slot()):
                return
            call, held_owner = self._held.popleft()
            self.start(call, held_owner)

    def _tell(self, node: Node) -> None:
        """Tells whoever started a node that it is over or, of a daemon, that it is ready."""
        if node.daemoned:
            if node.id not in self._daemon_owners and node.id in self._owners:
                owner = self._daemon_owners[node.id] = self._owners.pop(node.id)
                owner.child_done(node)
            return
        told = self._owners.pop(node.id, None)
        if told is not None:
            told.child_done(node)
        elif (keeper := self._daemon_owners.pop(node.id, None)) is not None and is_failed(node):
            keeper.daemon_lost(node)

    # -- rebuilding --------------------------------------------------------------------------

    def _reset(self) -> None:
        self._forget_leaves()
        self._forget_calls()
        self._retries: dict[str, RetryFrame] = {}
        self._daemon_owners: dict[str, Frame] = {}
        self._timers: list[tuple[dt.datetime, int, Callable[[], None]]] = []
        self._order = 0
        self.gates.forget()
        self._meters.clear()

    def _rebuild(self) -> None:
        self._reset()
        self.recount()
        for seen in self._seen.values():
            self._take_up(seen)
        self._stale = False
        if self.finished:
            return
        try:
            parameters = workflow_parameters(self.spec, self.library)
        except InvalidInput as problem:
            self._begin()
            self.end("Error", str(problem))
            return
        self.globals = Scope(values=workflow_values(self.workflow, self.spec, parameters))
        self.publish()
        if self.waits_for_locks():
            return
        self.open()
        self._settle()

    def _begin(self) -> None:
        self.phase = "Running"
        self.message = ""
        if not self.started_at:
            self.started_at = self.stamp()
        self.status_changed = True

    def open(self) -> None:
        if self.phase != "Running" or not self.started_at:
            self._begin()
        self._watch_limits()
        self._tell_duration()
        self.measure_workflow(begin=True)
        RootFrame(self).open()

    def _watch_limits(self) -> None:
        if shutdown := self.spec.get("shutdown"):
            self.stopping = f"Stopped with strategy '{shutdown}'"
            self.at(self.now, lambda: self.stop_all(self.stopping))
        limit = self.spec.get("activeDeadlineSeconds")
        if limit is not None:
            due = parse_time(self.started_at) + dt.timedelta(seconds=int(limit))
            self.at(due, lambda: self.stop_all("Max duration limit exceeded"))

    def stop_all(self, reason: str) -> None:
        """Stops whatever runs, except exit handlers."""
        self.stopping = reason
        for key in [*self._owners]:
            node, owner = self.nodes[key], self._owners[key]
            if is_fulfilled(node) or owner.exempt:
                continue
            if key in self.gates.waiting:
                self.finish(node, "Failed", reason)
            elif node.type in ("Pod", "HTTP"):
                self.stop_pod(node, reason)
            elif node.type == "Suspend":
                self.finish(node, "Failed", reason)
            elif node.type == "Retry":
                owner_frame = self._retries.get(key)
                if owner_frame is not None:
                    owner_frame.give_up()
