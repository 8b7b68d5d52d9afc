"""The templates elsewhere that a spec refers to, so that a missing one is said before it runs.

Upstream validates references when a Workflow is created, submitted or linted
(``workflow/validate``). A name made of tags is only known at run time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeling.kube.client import Client
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.workflows.resources import CLUSTER_WORKFLOW_TEMPLATES, WORKFLOW_TEMPLATES

__all__ = ["Reference", "check_references", "references"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A template of another object; an empty ``template`` means the object as a whole."""

    resource: Resource
    name: str
    template: str = ""


def references(spec: Obj) -> Iterator[Reference]:
    """Every reference in the spec of a Workflow or of a WorkflowTemplate."""
    whole = spec.get("workflowTemplateRef")
    if whole:
        yield Reference(_resource(whole), whole.get("name") or "")
    yield from _within(spec)


async def check_references(client: Client, spec: Obj, namespace: str) -> None:
    """Raises what the API says of one that is missing."""
    fetched: dict[tuple[Resource, str], Obj] = {}
    for reference in dict.fromkeys(references(spec)):
        if "{{" in f"{reference.name}{reference.template}":
            continue
        key = (reference.resource, reference.name)
        if key not in fetched:
            where = namespace if reference.resource.namespaced else ""
            fetched[key] = await client.get(reference.resource, reference.name, where)
        names = [t.get("name") for t in fetched[key]["spec"].get("templates") or ()]
        if reference.template and reference.template not in names:
            raise BadRequest(
                f"template reference {reference.name}.{reference.template} not found: "
                f'{reference.resource.qualified} "{reference.name}" has '
                f"{', '.join(map(str, names)) or 'no templates'}"
            )


def _within(value: Any) -> Iterator[Reference]:
    if isinstance(value, list):
        for entry in value:
            yield from _within(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key == "templateRef" and isinstance(entry, dict):
                named = (entry.get("name") or "", entry.get("template") or "")
                yield Reference(_resource(entry), *named)
            else:
                yield from _within(entry)


def _resource(reference: Obj) -> Resource:
    return CLUSTER_WORKFLOW_TEMPLATES if reference.get("clusterScope") else WORKFLOW_TEMPLATES
