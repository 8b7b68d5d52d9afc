"""Lets Workflows begin as far as ``parallelism`` and ``namespace_parallelism`` allow.

What runs is counted when the first Workflow asks. A namespace's label
``workflows.argoproj.io/parallelism-limit`` goes before the setting, as upstream's. Without any
limit all this costs a set of keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubeling.component import Context
from kubeling.kube.objects import Key, Obj, key_of, labels, name, namespace
from kubeling.workflows.completion import LABEL_PHASE
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.settings import WorkflowSettings
from kubeling.workflows.throttle import Throttle

__all__ = ["POSTPONED", "Admittance"]

POSTPONED: Final = (
    "Workflow processing has been postponed because too many workflows are already running"
)
_LABEL: Final = "workflows.argoproj.io/parallelism-limit"


class Admittance:
    """Asked before a Workflow is looked at; ``wake`` asks for one to be reconciled."""

    def __init__(self, context: Context) -> None:
        settings = WorkflowSettings.of(context.settings)
        self._client = context.client
        self._workflows = context.informers.of(WORKFLOWS)
        self._counted = False
        self.wake: Callable[[Key], None] = lambda _: None
        self._throttle = Throttle(
            settings.parallelism, settings.namespace_parallelism, lambda key: self.wake(key)
        )

    def namespace_changed(self, _: Obj | None, new: Obj | None) -> None:
        """Takes in what a namespace's label says."""
        if new is not None:
            text = labels(new).get(_LABEL, "")
            self._throttle.limit_namespace(name(new), int(text) if text.isdecimal() else None)

    async def admits(self, workflow: Obj) -> bool:
        """Whether it may go on; one that has to wait says so in its status."""
        self._count()
        key, status = key_of(workflow), workflow.get("status") or {}
        if status.get("phase") == "Running":
            self._throttle.count(key)
            return True
        spec = workflow["spec"]
        if spec.get("shutdown") == "Terminate":
            return True
        created = workflow["metadata"].get("creationTimestamp") or ""
        if self._throttle.admit(key, int(spec.get("priority") or 0), created):
            return True
        if not status.get("phase"):
            await self._postpone(workflow)
        return False

    def release(self, key: Key) -> None:
        """Notes that a Workflow has ended or is no more."""
        self._throttle.release(key)

    def _count(self) -> None:
        if self._counted:
            return
        self._counted = True
        for workflow in self._workflows.list():
            if (workflow.get("status") or {}).get("phase") == "Running":
                self._throttle.count(key_of(workflow))

    async def _postpone(self, workflow: Obj) -> None:
        called, where = name(workflow), namespace(workflow)
        label = {"metadata": {"labels": {LABEL_PHASE: "Pending"}}}
        await self._client.patch(WORKFLOWS, called, label, where)
        status = {"phase": "Pending", "message": POSTPONED}
        await self._client.patch_status(WORKFLOWS, called, status, where)
