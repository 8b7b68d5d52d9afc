"""The smallest patch that brings a Workflow's status up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from kubeling.kube.objects import Obj, set_condition
from kubeling.workflows.execution import Execution

__all__ = ["Change", "StatusWriter"]


@dataclass(slots=True)
class Change:
    """What to write: a merge patch for the status, and nodes (place and JSON) for the database."""

    patch: Obj
    rows: dict[str, tuple[int, bytes]] = field(default_factory=dict)


class StatusWriter:
    """Remembers what was written and tells what differs.

    ``version`` is that of the nodes in the database, ``None`` while they are in the status: they
    leave it when they and the rest of the Workflow exceed ``limit`` bytes.
    """

    def __init__(self, status: Obj, version: int | None, limit: int) -> None:
        self.version = version
        self.limit = limit
        self._nodes: dict[str, Obj] = {} if version else dict(status.get("nodes") or {})
        self._sizes = {key: len(msgspec.json.encode(node)) for key, node in self._nodes.items()}
        self._size = sum(self._sizes.values())
        self._places: dict[str, int] = {}
        self._fields: Obj = {key: value for key, value in status.items() if key != "nodes"}

    @property
    def phase(self) -> str:
        """The phase as last written."""
        return str(self._fields.get("phase") or "")

    def knows(self, status: Obj) -> bool:
        """Whether these are, phase by phase, the nodes last written."""
        if self.version is not None:
            return str(status.get("offloadNodeStatusVersion") or "") == str(self.version)
        nodes: Obj = status.get("nodes") or {}
        return nodes.keys() == self._nodes.keys() and all(
            node.get("phase") == self._nodes[key].get("phase") for key, node in nodes.items()
        )

    def change(self, execution: Execution, template_spec: Obj | None) -> Change:
        """What to write (an empty patch: nothing changed); counts as written."""
        fields = self._status_fields(execution, template_spec)
        change = Change(_difference(self._fields, fields))
        self._fields = fields
        if self.version is None:
            self._put_into(change.patch, execution)
        if self.version is not None or self._size > self.limit:
            self._offload(change, execution)
        execution.changed.clear()
        execution.status_changed = False
        execution.gates.changed = False
        execution.library.stored_changed = False
        return change

    def offloaded(self, change: Change, version: int) -> None:
        """Notes that the rows of a change are in the database, and says so in its patch."""
        self.version = version
        text = str(version)
        change.patch["offloadNodeStatusVersion"] = text
        self._fields["offloadNodeStatusVersion"] = text

    def _put_into(self, patch: Obj, execution: Execution) -> None:
        nodes: Obj = {}
        for key in execution.changed:
            node = execution.nodes[key]
            shown: Obj = msgspec.to_builtins(node)
            if difference := _difference(self._nodes.get(key) or {}, shown):
                nodes[key] = difference
                size = len(msgspec.json.encode(node))
                self._size += size - self._sizes.get(key, 0)
                self._sizes[key] = size
            self._nodes[key] = shown
        if nodes:
            patch["nodes"] = nodes

    def _offload(self, change: Change, execution: Execution) -> None:
        first = self.version is None
        if first:
            change.patch["nodes"] = None
            self._nodes.clear()
            self._sizes.clear()
        for key in islice(execution.nodes, len(self._places), None):
            self._places[key] = len(self._places)
        for key in execution.nodes if first else execution.changed:
            text = msgspec.json.encode(execution.nodes[key])
            change.rows[key] = (self._places[key], text)

    def _status_fields(self, execution: Execution, template_spec: Obj | None) -> Obj:
        texts = {
            "phase": execution.phase,
            "startedAt": execution.started_at,
            "finishedAt": execution.finished_at,
            "progress": execution.progress if execution.started_at else "",
            "message": execution.message,
        }
        fields: Obj = {key: value for key, value in self._fields.items() if key not in texts}
        fields.update({key: text for key, text in texts.items() if text})
        outputs = msgspec.to_builtins(execution.outputs)
        if outputs:
            fields["outputs"] = outputs
        if execution.started_at and execution.estimates.workflow:
            fields.setdefault("estimatedDuration", execution.estimates.workflow)
        if execution.repository is not None:
            fields["artifactRepositoryRef"] = execution.repository.reference
        if execution.resources_duration:
            fields["resourcesDuration"] = execution.resources_duration
        if execution.claims:
            fields["persistentVolumeClaims"] = execution.claims
        if template_spec is not None:
            fields["storedWorkflowTemplateSpec"] = template_spec
        if execution.library.stored:
            fields["storedTemplates"] = dict(execution.library.stored)
        fields.pop("synchronization", None)
        if locks := execution.gates.status():
            fields["synchronization"] = locks
        fields["conditions"] = _conditions(fields.get("conditions") or [], execution)
        return fields


def _conditions(before: list[Obj], execution: Execution) -> list[Obj]:
    status: Obj = {"conditions": list(before)}
    running = any(node.phase == "Running" for node in execution.active_pods())
    set_condition(status, "PodRunning", running, now=execution.now)
    set_condition(status, "Completed", execution.finished, now=execution.now)
    if message := execution.metrics_error:
        set_condition(status, "MetricsError", True, message=message, now=execution.now)
    found: list[Obj] = status["conditions"]
    return found


def _difference(old: Obj, new: Obj) -> dict[str, Any]:
    """The merge patch that makes one of the other; what is gone inside of an object is, too."""
    changed: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inside := _difference(before, value):
                changed[key] = inside
        elif before != value:
            changed[key] = value
    return changed
