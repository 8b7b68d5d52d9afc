"""The volume claims of a StatefulSet's pods: what they are, and with whom they go. Pure.

``persistentVolumeClaimRetentionPolicy`` is said in owner references: with ``whenDeleted: Delete``
the set is a claim's controller, with ``whenScaled: Delete`` a pod beyond the set's replicas is. A
claim that something else controls is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.engine.workloads.stateful_plan import ordinals
from kubeling.kube.objects import Obj, deep_copy, name, namespace, owner_reference, uid

__all__ = ["claim_for", "claims_of", "is_contested", "is_stale", "owners_of"]

_RETAIN: Final = "Retain"
_DELETE: Final = "Delete"


def claim_for(owner: Obj, template: Obj, ordinal: int) -> Obj:
    """The volume claim of an ordinal."""
    metadata: Obj = {
        "name": f"{template['metadata']['name']}-{name(owner)}-{ordinal}",
        "namespace": namespace(owner),
        "labels": {
            **(template["metadata"].get("labels") or {}),
            **(owner["spec"]["selector"].get("matchLabels") or {}),
        },
    }
    if kept := template["metadata"].get("annotations"):
        metadata["annotations"] = dict(kept)
    if _policy(owner, "whenDeleted") == _DELETE:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": deep_copy(template["spec"]),
    }


def claims_of(owner: Obj, ordinal: int) -> Iterator[Obj]:
    """All volume claims of an ordinal."""
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        yield claim_for(owner, template, ordinal)


def owners_of(claim: Obj, owner: Obj, pod: Obj, ordinal: int) -> list[Obj] | None:
    """The owner references that the claim should have; ``None`` if they are right as they are.

    A claim that still names an earlier set or pod of the same name is the garbage collector's.
    """
    present = list(claim["metadata"].get("ownerReferences") or ())
    ours = [ref for ref in present if _names(ref, owner) or _names(ref, pod)]
    if any(ref["uid"] not in (uid(owner), uid(pod)) for ref in ours):
        return None
    others = [ref for ref in present if ref not in ours]
    if not is_contested(claim, owner, pod):
        beyond = ordinal not in ordinals(owner)
        if _policy(owner, "whenScaled") == _DELETE and beyond:
            others.append(owner_reference(pod))
        elif _policy(owner, "whenDeleted") == _DELETE:
            others.append(owner_reference(owner))
    return others if _essence(others) != _essence(present) else None


def is_contested(claim: Obj, owner: Obj, pod: Obj) -> bool:
    """Whether something else controls the claim, although the set says when it should go."""
    if _DELETE not in (_policy(owner, "whenDeleted"), _policy(owner, "whenScaled")):
        return False
    return any(
        ref.get("controller")
        for ref in claim["metadata"].get("ownerReferences") or ()
        if ref["uid"] not in (uid(owner), uid(pod))
    )


def is_stale(claim: Obj, owner: Obj, pod_name: str) -> bool:
    """Whether the claim is that of a pod that is no more, and goes: a new pod has to wait."""
    return _policy(owner, "whenScaled") == _DELETE and any(
        ref["kind"] == "Pod" and ref["name"] == pod_name
        for ref in claim["metadata"].get("ownerReferences") or ()
    )


def _policy(owner: Obj, when: str) -> str:
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return str(policy.get(when) or _RETAIN)


def _names(reference: Obj, obj: Obj) -> bool:
    return (reference["apiVersion"], reference["kind"], reference["name"]) == (
        obj["apiVersion"],
        obj["kind"],
        name(obj),
    )


def _essence(references: list[Obj]) -> list[tuple[str, bool]]:
    return sorted((ref["uid"], bool(ref.get("controller"))) for ref in references)
