"""How long a Workflow and its nodes will take: as long as the last time.

Upstream: ``workflow/controller/estimation``. The last time is the newest succeeded Workflow of the
same template or CronWorkflow, live or in the archive.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from kubeling.component import Context
from kubeling.kube.objects import Obj, labels, name, namespace, uid
from kubeling.kube.selectors import parse
from kubeling.workflows.archive import Archive
from kubeling.workflows.completion import LABEL_PHASE
from kubeling.workflows.estimates import Estimates
from kubeling.workflows.listing import WorkflowFilter
from kubeling.workflows.offload import Offload
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["Estimator", "origin_label"]

log = logging.getLogger(__name__)

_ORIGINS: Final = (
    "workflows.argoproj.io/workflow-template",
    "workflows.argoproj.io/cluster-workflow-template",
    "workflows.argoproj.io/cron-workflow",
)
"""The labels that say what a Workflow was made from."""
_INDEX: Final = "succeeded-by-origin"


class Estimator:
    """Finds what a Workflow is to be compared with."""

    def __init__(self, context: Context, offload: Offload) -> None:
        self._workflows = context.informers.of(WORKFLOWS)
        self._workflows.add_index(_INDEX, _succeeded)
        self._archive = Archive(context)
        self._offload = offload

    async def estimate(self, workflow: Obj) -> Estimates:
        """The estimates for a Workflow; none where it is the first of its kind."""
        try:
            return await self._estimate(workflow)
        except Exception:
            # A guess is not worth holding up what it is about.
            log.exception("estimates for workflow %s", name(workflow))
            return Estimates()

    async def _estimate(self, workflow: Obj) -> Estimates:
        for label, value in origin_label(workflow):
            live = self._workflows.by_index(_INDEX, _key(namespace(workflow), label, value))
            others = [found for found in live if uid(found) != uid(workflow)]
            if others:
                newest = max(others, key=lambda found: found["metadata"]["creationTimestamp"])
                return Estimates.of(await self._offload.hydrated(newest))
            if self._archive.enabled:
                archived = await self._archived(namespace(workflow), label, value)
                return Estimates.of(archived) if archived is not None else Estimates()
        return Estimates()

    async def _archived(self, where: str, label: str, value: str) -> Obj | None:
        store = await self._archive.store()
        selector = parse(f"{label}={value},{LABEL_PHASE}=Succeeded")
        wanted = WorkflowFilter(namespace=where, labels=selector)
        for summary in await store.page(wanted, limit=1):
            return await store.get(uid=uid(summary))
        return None


def origin_label(workflow: Obj) -> Iterator[tuple[str, str]]:
    """What a Workflow was made from, as the label that says so (or will, when it runs)."""
    if reference := workflow["spec"].get("workflowTemplateRef"):
        yield _ORIGINS[bool(reference.get("clusterScope"))], str(reference.get("name"))
        return
    own = labels(workflow)
    yield from ((label, own[label]) for label in _ORIGINS if label in own)


def _succeeded(workflow: Obj) -> list[str]:
    if (workflow.get("status") or {}).get("phase") != "Succeeded":
        return []
    where = namespace(workflow)
    return [_key(where, label, value) for label, value in origin_label(workflow)]


def _key(where: str, label: str, value: str) -> str:
    return f"{where}/{label}={value}"
