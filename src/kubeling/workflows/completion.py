"""What happens to a Workflow after its end: labels, leftover pods, claims, and its own deletion."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Final

from kubeling.component import Context
from kubeling.kube.client import Client
from kubeling.kube.controller import Result
from kubeling.kube.errors import Conflict, NotFound
from kubeling.kube.objects import Obj, format_time, labels, name, namespace, parse_time, uid
from kubeling.kube.resources import PODS
from kubeling.workflows.archive import LABEL_ARCHIVING, Archive, is_archived
from kubeling.workflows.artifact_gc import COMPONENT, LABEL_COMPONENT
from kubeling.workflows.belongings import Belongings
from kubeling.workflows.offload import Offload
from kubeling.workflows.podgc import PodGc
from kubeling.workflows.pods import LABEL_COMPLETED
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.settings import WorkflowSettings
from kubeling.workflows.specs import merged_spec

__all__ = ["LABEL_PHASE", "Completion", "delete_at", "end_pod"]

LABEL_PHASE: Final = "workflows.argoproj.io/phase"
_RETAINED: Final = {"Succeeded": "completed", "Failed": "failed", "Error": "errored"}


class Completion:
    """Tidies up after Workflows that have come to their end."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._pods = context.informers.of(PODS)
        self._archive = Archive(context)
        self._offload = Offload(context)
        self._belongings = Belongings(context.client)
        self._workflows = context.informers.of(WORKFLOWS)
        self._retention = WorkflowSettings.of(context.settings).retention_policy

    async def reconcile(self, workflow: Obj) -> Result | None:
        """Does what is due; asks to be called again for what is not yet."""
        news = await self._label(workflow)
        due = delete_at(workflow)
        now = self._clock.now()
        if due is not None and due <= now:
            await self._delete_workflow(workflow)
            return None
        garbage = await self._remove_pods(workflow, now)
        await self._belongings.remove(workflow, _spec(workflow))
        if news:
            await self._remove_surplus(workflow)
        again = min((moment for moment in (due, garbage) if moment is not None), default=None)
        return Result((again - now).total_seconds()) if again is not None else None

    async def _remove_surplus(self, latest: Obj) -> None:
        """Deletes the oldest of those that ended as the latest did, beyond what is to stay."""
        phase = latest["status"]["phase"]
        kept = getattr(self._retention, _RETAINED[phase], None)
        if kept is None:
            return
        ended = [
            workflow
            for workflow in self._workflows.list()
            if (workflow.get("status") or {}).get("phase") == phase
            and (labels(workflow).get(LABEL_COMPLETED) == "true" or uid(workflow) == uid(latest))
        ]
        ended.sort(
            key=lambda w: (str(w["status"].get("finishedAt")), uid(w) == uid(latest)), reverse=True
        )
        for workflow in ended[kept:]:
            await self._delete_workflow(workflow)

    async def _delete_workflow(self, workflow: Obj) -> None:
        await self._client.delete(
            WORKFLOWS,
            name(workflow),
            namespace(workflow),
            uid=uid(workflow),
            propagation="Background",
            missing_ok=True,
        )

    async def _label(self, workflow: Obj) -> bool:
        """Labels it, and archives it before anything else can happen to it; whether that is new."""
        wanted = {LABEL_PHASE: workflow["status"]["phase"], LABEL_COMPLETED: "true"}
        if self._archive.enabled:
            wanted[LABEL_ARCHIVING] = "Archived"
            if not is_archived(workflow):
                await self._archive.file(await self._offload.hydrated(workflow), wanted)
        if all(labels(workflow).get(key) == value for key, value in wanted.items()):
            return False
        # With its uid, because a namesake may have taken its place meanwhile.
        patch = {"metadata": {"uid": uid(workflow), "labels": wanted}}
        with contextlib.suppress(Conflict, NotFound):
            await self._client.patch(WORKFLOWS, name(workflow), patch, namespace(workflow))
        return True

    async def _remove_pods(self, workflow: Obj, now: dt.datetime) -> dt.datetime | None:
        """Deletes the pods that are due, ends what still runs; when the next ones are due."""
        rule = PodGc.of(_spec(workflow))
        phase = workflow["status"]["phase"]
        due = parse_time(workflow["status"].get("finishedAt") or format_time(now)) + rule.delay
        waiting = False
        for pod in self._pods.owned_by(uid(workflow)):
            if labels(pod).get(LABEL_COMPONENT) == COMPONENT:
                continue
            pod_phase = (pod.get("status") or {}).get("phase")
            if pod_phase not in ("Running", "Succeeded", "Failed"):
                await self._delete(pod)
            elif pod_phase == "Running" and pod["spec"].get("activeDeadlineSeconds") != 1:
                with contextlib.suppress(NotFound):
                    await end_pod(self._client, name(pod), namespace(pod))
            elif pod_phase != "Running" and rule.applies(labels(pod), pod_phase, phase):
                if due <= now:
                    await self._delete(pod)
                waiting = due > now
        return due if waiting else None

    async def _delete(self, pod: Obj) -> None:
        await self._client.delete(PODS, name(pod), namespace(pod), missing_ok=True)


def _spec(workflow: Obj) -> Obj:
    """The spec with, under it, the template's as it was when the Workflow ran."""
    return merged_spec(workflow["spec"], workflow["status"].get("storedWorkflowTemplateSpec") or {})


async def end_pod(client: Client, pod: str, where: str) -> None:
    """Ends what still runs in a pod whose step is over; the pod stays, with its logs.

    A deadline does it as upstream's signals do: SIGTERM, then SIGKILL. It can be set on a pod that
    runs, and any cluster keeps to it.
    """
    await client.patch(PODS, pod, {"spec": {"activeDeadlineSeconds": 1}}, where)


def delete_at(workflow: Obj) -> dt.datetime | None:
    """When a finished Workflow is to be deleted, if ever."""
    status = workflow["status"]
    strategy = _spec(workflow).get("ttlStrategy") or {}
    key = "secondsAfterSuccess" if status["phase"] == "Succeeded" else "secondsAfterFailure"
    seconds = strategy.get(key, strategy.get("secondsAfterCompletion"))
    if seconds is None or not status.get("finishedAt"):
        return None
    return parse_time(status["finishedAt"]) + dt.timedelta(seconds=int(seconds))
