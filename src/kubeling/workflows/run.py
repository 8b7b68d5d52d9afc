"""A Workflow under way, as the controller keeps it in memory between reconciliations."""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import Final

import msgspec

from kubeling.kube.objects import Obj, generation, name, resource_version
from kubeling.workflows.execution import Actions, Execution
from kubeling.workflows.handover import Store
from kubeling.workflows.observation import PodObservation
from kubeling.workflows.offload import MAX_SIZE
from kubeling.workflows.podgc import Garbage, PodGc
from kubeling.workflows.specs import effective_spec
from kubeling.workflows.templates import Library
from kubeling.workflows.writing import StatusWriter

__all__ = ["WRITE_INTERVAL", "Run"]

WRITE_INTERVAL: Final = 0.25
"""Seconds between two writes of a status, as long as writing is quick."""

_WRITE_SHARE: Final = 10
"""Writing takes at most one in so many seconds, however large the status is …"""

_MAX_INTERVAL: Final = 2.0
"""… unless it would be this old."""


class Run:
    """A Workflow under way: its execution, and what has not been done or written yet."""

    def __init__(
        self,
        workflow: Obj,
        template_spec: Obj | None,
        store: Store,
        version: int | None = None,
        max_size: int = MAX_SIZE,
    ) -> None:
        status = workflow.get("status") or {}
        spec = effective_spec(workflow, template_spec)
        library = Library(name(workflow), spec, dict(status.get("storedTemplates") or {}))
        self.workflow = workflow
        self.template_spec = template_spec
        self.execution = Execution(workflow, spec, store, library)
        spec_size = len(msgspec.json.encode([workflow["spec"], template_spec]))
        self.writer = StatusWriter(status, version, max_size - spec_size)
        self.todo = Actions()
        self.versions: deque[str] = deque([resource_version(workflow)], maxlen=64)
        self.written_at = float("-inf")
        self.write_took = 0.0
        self.claimed = False
        self.progress_read_at = float("-inf")
        self.overtaken = False
        self.replaced: set[str] = set()
        self.garbage = Garbage(PodGc.of(spec))
        self.over: list[PodObservation] = []

    @property
    def unwritten(self) -> bool:
        execution = self.execution
        return bool(
            execution.changed
            or execution.status_changed
            or execution.gates.changed
            or execution.library.stored_changed
        )

    @property
    def write_interval(self) -> float:
        """Seconds to leave between two writes of the status."""
        return min(max(WRITE_INTERVAL, _WRITE_SHARE * self.write_took), _MAX_INTERVAL)

    def takes(self, workflow: Obj) -> bool:
        """Whether the Workflow as it is now is one this run has written, or equals it."""
        version = resource_version(workflow)
        if version not in self.versions:
            if not self.writer.knows(workflow.get("status") or {}):
                return False
            self.versions.append(version)
        if generation(workflow) > generation(self.workflow):
            self.execution.spec = effective_spec(workflow, self.template_spec)
            self.execution.forget_frames()
            self.workflow = workflow
        return True

    def end_early(self, now: dt.datetime, message: str) -> None:
        """Ends a Workflow before anything of it has begun."""
        self.execution.now = now
        self.execution.started_at = self.execution.started_at or self.execution.stamp()
        self.execution.end("Error", message)

    def wrote(self, answer: Obj) -> None:
        """Notes what the server answered to a write: somebody may have written in between."""
        self.versions.append(resource_version(answer))
        self.overtaken = self.overtaken or not self.writer.knows(answer.get("status") or {})
