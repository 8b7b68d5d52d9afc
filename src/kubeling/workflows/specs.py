"""A Workflow's spec with what it takes from its WorkflowTemplate, and from its claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["claim_name", "claimed_volumes", "effective_spec", "merged_spec"]

_BY_NAME: Final = ("templates", "volumes", "volumeClaimTemplates")


def effective_spec(workflow: Obj, template_spec: Obj | None) -> Obj:
    """The spec an execution runs: merged, with the claimed volumes among the volumes."""
    spec: Obj = workflow["spec"]
    if template_spec is not None:
        spec = merged_spec(spec, template_spec)
    claimed = claimed_volumes(workflow, spec)
    return {**spec, "volumes": [*(spec.get("volumes") or ()), *claimed]} if claimed else spec


def claimed_volumes(workflow: Obj, spec: Obj) -> list[Obj]:
    """The volumes that the claims made from claim templates are to pods."""
    return [
        {
            "name": claim["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name(workflow, claim)},
        }
        for claim in spec.get("volumeClaimTemplates") or ()
    ]


def claim_name(workflow: Obj, claim: Obj) -> str:
    """The name of the PersistentVolumeClaim made from a claim template."""
    return f"{workflow['metadata']['name']}-{claim['metadata']['name']}"


def merged_spec(own: Obj, template: Obj) -> Obj:
    """The Workflow's spec over its template's: named lists by name, everything else by field."""
    merged: Obj = {**template, **{k: v for k, v in own.items() if v not in (None, "")}}
    for key in _BY_NAME:
        if own.get(key) and template.get(key):
            merged[key] = _by_name(template[key], own[key])
    arguments = _arguments(own.get("arguments") or {}, template.get("arguments") or {})
    if arguments:
        merged["arguments"] = arguments
    if own.get("hooks") and template.get("hooks"):
        merged["hooks"] = {**template["hooks"], **own["hooks"]}
    return merged


def _arguments(own: Obj, template: Obj) -> Obj:
    merged: Obj = {}
    for kind in ("parameters", "artifacts"):
        found = _by_name(template.get(kind) or (), own.get(kind) or ())
        if found:
            merged[kind] = found
    return merged


def _by_name(below: Iterable[Obj], above: Iterable[Obj]) -> list[Obj]:
    found: dict[Any, Obj] = {_name(entry): entry for entry in below}
    for entry in above:
        found[_name(entry)] = entry
    return list(found.values())


def _name(entry: Obj) -> Any:
    return entry.get("name") or (entry.get("metadata") or {}).get("name")
