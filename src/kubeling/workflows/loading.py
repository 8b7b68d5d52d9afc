"""Puts together the run of a Workflow: what is stored of it, its template and its pods.

A run can be thrown away at any time; this is where it comes from again.
"""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.kube.objects import Obj, is_owned_by, name, namespace, uid
from kubeling.kube.resources import CONFIG_MAPS, PODS
from kubeling.workflows.estimation import Estimator
from kubeling.workflows.handover import Store
from kubeling.workflows.observation import PodObservation, observe_pod
from kubeling.workflows.offload import Offload, is_offloaded
from kubeling.workflows.pods import LABEL_WORKFLOW
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)
from kubeling.workflows.run import Run
from kubeling.workflows.settings import WorkflowSettings
from kubeling.workflows.specs import defaults_patch

__all__ = ["FINAL", "Loader"]

FINAL: Final = ("Succeeded", "Failed", "Error")
"""The phases of Workflows that have come to their end."""


class Loader:
    """Loads runs, and the objects that executions ask for."""

    def __init__(self, context: Context, store: Store, offload: Offload) -> None:
        self._client = context.client
        self._clock = context.clock
        self._pods = context.informers.of(PODS)
        self._store = store
        self._offload = offload
        self._estimator = Estimator(context, offload)
        self._defaults = WorkflowSettings.of(context.settings).workflow_defaults

    async def load(self, workflow: Obj) -> tuple[Run, list[PodObservation]] | None:
        """The run and what is to be seen of its pods; ``None`` if there is nothing more to run.

        A run that cannot begin is finished already, and says why.
        """
        if workflow.get("status"):
            fresh = await self._client.find(WORKFLOWS, name(workflow), namespace(workflow))
            if fresh is None or uid(fresh) != uid(workflow):
                return None
            workflow = fresh
            if (workflow.get("status") or {}).get("phase") in FINAL:
                return None
        template_spec: Obj | None = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec")
        reference = workflow["spec"].get("workflowTemplateRef")
        if reference and template_spec is None:
            kind = "cluster" if reference.get("clusterScope") else "namespaced"
            template_spec = await self.fetch(kind, reference.get("name", ""), workflow)
            if template_spec is None:
                return self._refused(workflow, reference), []
        if self._defaults and not (workflow.get("status") or {}).get("startedAt"):
            workflow = await self._completed(workflow, template_spec)
        version: int | None = None
        if is_offloaded(workflow):
            workflow = await self._offload.hydrated(workflow)
            version = int(workflow["status"]["offloadNodeStatusVersion"])
        run = Run(workflow, template_spec, self._store, version)
        run.execution.estimates = await self._estimator.estimate(workflow)
        pods = await self._present_pods(run)
        return run, [seen for pod in pods if (seen := observe_pod(pod)) is not None]

    async def _completed(self, workflow: Obj, template_spec: Obj | None) -> Obj:
        """The Workflow with what ``workflow_defaults`` give it, written into it as upstream's."""
        patch = defaults_patch(workflow, template_spec, self._defaults or {})
        if not patch:
            return workflow
        return await self._client.patch(WORKFLOWS, name(workflow), patch, namespace(workflow))

    async def _present_pods(self, run: Run) -> list[Obj]:
        """The pods of a Workflow; of one that was set back, those there really are.

        Its former pods have the names of those to come, and the cache may not know yet that they
        are gone.
        """
        workflow = run.workflow
        cached = self._pods.owned_by(uid(workflow))
        status = workflow.get("status") or {}
        if not status or status.get("phase"):
            return cached
        selector = f"{LABEL_WORKFLOW}={name(workflow)}"
        found = await self._client.list(PODS, namespace(workflow), labels=selector)
        present = [pod for pod in found.items if is_owned_by(pod, workflow)]
        run.replaced = {uid(pod) for pod in cached} - {uid(pod) for pod in present}
        return present

    async def fetch(self, kind: str, wanted: str, workflow: Obj) -> Obj | None:
        """What a Workflow refers to: a template's spec or a ConfigMap."""
        where = namespace(workflow)
        match kind:
            case "configmap":
                return await self._client.find(CONFIG_MAPS, wanted, where)
            case "cluster":
                found = await self._client.find(CLUSTER_WORKFLOW_TEMPLATES, wanted)
            case _:
                found = await self._client.find(WORKFLOW_TEMPLATES, wanted, where)
        return found["spec"] if found is not None else None

    def _refused(self, workflow: Obj, reference: Obj) -> Run:
        resource = (
            CLUSTER_WORKFLOW_TEMPLATES if reference.get("clusterScope") else WORKFLOW_TEMPLATES
        )
        run = Run(workflow, {}, self._store)
        message = f'{resource.qualified} "{reference.get("name")}" not found'
        run.end_early(self._clock.now(), message)
        run.template_spec = None
        return run
