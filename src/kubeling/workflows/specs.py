"""A Workflow's spec with what it takes from its WorkflowTemplate, and from its claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["claim_name", "claimed_volumes", "defaults_patch", "effective_spec", "merged_spec"]

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
    """The Workflow's spec over its template's: objects by field, named lists by name.

    Upstream: ``JoinWorkflowSpec`` in ``workflow/util/merge.go``.
    """
    given = {key: value for key, value in own.items() if value not in (None, "")}
    merged = _over(given, template)
    for key in _BY_NAME:
        if own.get(key) and template.get(key):
            merged[key] = _by_name(template[key], own[key])
    arguments = _arguments(own.get("arguments") or {}, template.get("arguments") or {})
    if arguments:
        merged["arguments"] = arguments
    return merged


def defaults_patch(workflow: Obj, template_spec: Obj | None, defaults: Mapping[str, Any]) -> Obj:
    """What a Workflow is given that neither it nor its template says, as a merge patch."""
    patch: Obj = {}
    spec = merged_spec(workflow["spec"], template_spec or {})
    completed = merged_spec(spec, defaults.get("spec") or {})
    if given := {key: value for key, value in completed.items() if spec.get(key) != value}:
        patch["spec"] = given
    for kind in ("labels", "annotations"):
        wanted = (defaults.get("metadata") or {}).get(kind) or {}
        own = workflow["metadata"].get(kind) or {}
        if lacking := {key: value for key, value in wanted.items() if key not in own}:
            patch.setdefault("metadata", {})[kind] = lacking
    return patch


def _over(own: Obj, below: Obj) -> Obj:
    merged = {**below, **own}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merged[key] = _over(value, below[key])
    return merged


def _arguments(own: Obj, template: Obj) -> Obj:
    """The arguments by name; what an entry does not say, the template's entry of its name does."""
    merged: Obj = {}
    for kind in ("parameters", "artifacts"):
        below = {_name(entry): entry for entry in template.get(kind) or ()}
        above = [_completed(entry, below.get(_name(entry)) or {}) for entry in own.get(kind) or ()]
        if found := _by_name(below.values(), above):
            merged[kind] = found
    return merged


def _completed(entry: Obj, below: Obj) -> Obj:
    if any(key in entry for key in ("value", "valueFrom")):
        below = {key: value for key, value in below.items() if key not in ("value", "valueFrom")}
    return {**below, **entry}


def _by_name(below: Iterable[Obj], above: Iterable[Obj]) -> list[Obj]:
    found: dict[Any, Obj] = {_name(entry): entry for entry in below}
    for entry in above:
        found[_name(entry)] = entry
    return list(found.values())


def _name(entry: Obj) -> Any:
    return entry.get("name") or (entry.get("metadata") or {}).get("name")
