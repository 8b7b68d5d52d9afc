"""Which claims pods use, the ephemeral ones that were made for them among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeling.kube.objects import Key, Obj, name, namespace, uid

__all__ = ["claims_of_pod", "ephemeral_claims", "is_finished", "made_for", "users"]


def claims_of_pod(pod: Obj) -> list[Key]:
    """The claims that a pod's volumes name."""
    return [Key(namespace(pod), title) for title in _claim_names(pod)]


def ephemeral_claims(pod: Obj) -> Iterator[tuple[str, Obj]]:
    """The names of the claims that are made for the pod, and their templates."""
    for volume in _volumes(pod):
        if "ephemeral" in volume:
            template = volume["ephemeral"].get("volumeClaimTemplate") or {}
            yield f"{name(pod)}-{volume['name']}", template


def made_for(claim: Obj, pod: Obj) -> bool:
    """Whether the claim belongs to the pod: another's of the same name must not be used."""
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid(pod) and owner.get("controller") for owner in owners)


def users(claim: Key, pods: Iterable[Obj]) -> list[Obj]:
    """The pods that use a claim and have not finished."""
    return [pod for pod in pods if not is_finished(pod) and claim in claims_of_pod(pod)]


def is_finished(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _claim_names(pod: Obj) -> Iterator[str]:
    for volume in _volumes(pod):
        if claim := volume.get("persistentVolumeClaim"):
            yield claim["claimName"]
    yield from (title for title, _ in ephemeral_claims(pod))


def _volumes(pod: Obj) -> Iterable[Obj]:
    return (pod.get("spec") or {}).get("volumes") or ()
