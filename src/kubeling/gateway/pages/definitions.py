"""One definition that workflows are made of: a template, of a namespace or the cluster, or a cron.

What it asks for, what it consists of, and what has run of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.inputs import inputs_of_template
from kubeling.gateway.kinds import (
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import Obj, mapping, mappings, name, namespace
from kubeling.kube.resources import Resource

__all__ = ["definition_page"]

_BY_KIND: Final = {
    resource.kind: resource
    for resource in (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS)
}
_LABELS: Final = {
    "WorkflowTemplate": "workflows.argoproj.io/workflow-template",
    "ClusterWorkflowTemplate": "workflows.argoproj.io/cluster-workflow-template",
    "CronWorkflow": "workflows.argoproj.io/cron-workflow",
}
_TYPES: Final = (
    "dag", "steps", "container", "script", "containerSet", "suspend", "resource", "http", "data",
    "plugin",
)  # fmt: skip
_LATEST: Final = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A template within a definition."""

    name: str
    type: str
    inputs: list[str]
    is_entrypoint: bool


async def definition_page(views: Views, request: web.Request) -> web.Response:
    """The page."""
    resource: Resource = _BY_KIND[request.path.split("/")[4]]
    obj = await views.object(resource, request)
    cron = resource == CRON_WORKFLOWS
    spec = mapping(obj["spec"].get("workflowSpec")) if cron else obj["spec"]
    made = [w for w in await views.objects(WORKFLOWS) if _is_of(w, obj)]
    return views.page(
        request,
        "definition.html",
        "/pipelines",
        name(obj),
        (resource, WORKFLOWS),
        tab="recurring" if cron else "templates",
        cron=cron,
        runs_by=bool(spec.get("entrypoint")) and not cron,
        reference=mapping(spec.get("workflowTemplateRef")),
        inputs=inputs_of_template(spec),
        parts=_parts(spec),
        made=[{"obj": w, "link": views.link(w)} for w in made[:_LATEST]],
        count=len(made),
        **await object_values(views, obj),
    )


def _is_of(workflow: Obj, definition: Obj) -> bool:
    """Whether a workflow was made of it: submitted from it, named by it, or started by its time."""
    kind = definition["kind"]
    if kind != "ClusterWorkflowTemplate" and namespace(workflow) != namespace(definition):
        return False
    labels = workflow["metadata"].get("labels") or {}
    if labels.get(_LABELS[kind]) == name(definition):
        return True
    reference = mapping(workflow["spec"].get("workflowTemplateRef"))
    named = "ClusterWorkflowTemplate" if reference.get("clusterScope") else "WorkflowTemplate"
    return named == kind and reference.get("name") == name(definition)


def _parts(spec: Mapping[str, Any]) -> list[Part]:
    return [
        Part(
            str(template.get("name") or ""),
            next((kind for kind in _TYPES if kind in template), ""),
            [
                str(p.get("name"))
                for group in ("parameters", "artifacts")
                for p in mappings(mapping(template.get("inputs")).get(group))
            ],
            template.get("name") == spec.get("entrypoint"),
        )
        for template in mappings(spec.get("templates"))
    ]
