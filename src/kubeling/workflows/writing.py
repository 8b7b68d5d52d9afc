"""The smallest patch that brings a Workflow's status up to date."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeling.kube.objects import Obj, set_condition
from kubeling.workflows.execution import Execution

__all__ = ["StatusWriter"]


class StatusWriter:
    """Remembers what was written and tells what differs."""

    def __init__(self, status: Obj) -> None:
        self._nodes: dict[str, Obj] = dict(status.get("nodes") or {})
        self._fields: Obj = {key: value for key, value in status.items() if key != "nodes"}

    @property
    def phase(self) -> str:
        """The phase as last written."""
        return str(self._fields.get("phase") or "")

    def knows(self, nodes: Obj) -> bool:
        """Whether these are, phase by phase, the nodes last written."""
        return nodes.keys() == self._nodes.keys() and all(
            node.get("phase") == self._nodes[key].get("phase") for key, node in nodes.items()
        )

    def patch(self, execution: Execution, template_spec: Obj | None) -> Obj:
        """A merge patch for the status (empty: nothing changed); counts as written."""
        fields = self._status_fields(execution, template_spec)
        patch: Obj = _difference(self._fields, fields)
        self._fields = fields
        nodes: Obj = {}
        for key in execution.changed:
            shown: Obj = msgspec.to_builtins(execution.nodes[key])
            if difference := _difference(self._nodes.get(key) or {}, shown):
                nodes[key] = difference
            self._nodes[key] = shown
        if nodes:
            patch["nodes"] = nodes
        execution.changed.clear()
        execution.status_changed = False
        execution.library.stored_changed = False
        return patch

    def _status_fields(self, execution: Execution, template_spec: Obj | None) -> Obj:
        fields: Obj = {
            **self._fields,
            "phase": execution.phase,
            "startedAt": execution.started_at,
            "progress": execution.progress,
        }
        for key, text in (("finishedAt", execution.finished_at), ("message", execution.message)):
            if text:
                fields[key] = text
        outputs = msgspec.to_builtins(execution.outputs)
        if outputs:
            fields["outputs"] = outputs
        if template_spec is not None:
            fields["storedWorkflowTemplateSpec"] = template_spec
        if execution.library.stored:
            fields["storedTemplates"] = dict(execution.library.stored)
        fields["conditions"] = _conditions(fields.get("conditions") or [], execution)
        return fields


def _conditions(before: list[Obj], execution: Execution) -> list[Obj]:
    status: Obj = {"conditions": list(before)}
    running = any(node.phase == "Running" for node in execution.active_pods())
    set_condition(status, "PodRunning", running, now=execution.now)
    set_condition(status, "Completed", execution.finished, now=execution.now)
    found: list[Obj] = status["conditions"]
    return found


def _difference(old: Obj, new: Obj) -> dict[str, Any]:
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    changed.update({key: None for key in old if key not in new})
    return changed
