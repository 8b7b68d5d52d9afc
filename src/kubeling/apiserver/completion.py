"""Admission that fills in an object from others, in upstream's order of plugins."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.podaccounts import give_account
from kubeling.apiserver.podlimits import prescribe_resources
from kubeling.apiserver.podplacement import apply_runtime_class, tolerate_lost_nodes
from kubeling.apiserver.podpriority import give_priority
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.kube import objects
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj

__all__ = ["complete_claim", "complete_pod"]

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


def complete_pod(store: Store, pod: Obj) -> None:
    """Gives a new pod its account, resources, runtime class, priority and tolerations."""
    spec = pod.get("spec")
    if not isinstance(spec, dict) or not _is_readable(spec):
        return
    namespace = pod["metadata"]["namespace"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    account = store.get(StoreKey("/serviceaccounts", namespace, name))
    if account is None:
        why = (
            f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not '
            "found"
        )
        raise Forbidden.of("", "pods", pod["metadata"].get("name", ""), why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    give_account(pod, account.obj)
    prescribe_resources(store, pod)
    give_priority(store, pod)
    tolerate_lost_nodes(pod)
    apply_runtime_class(store, pod)


def _is_readable(spec: Obj) -> bool:
    """Whether what is read here has the types it should; types are checked, and refused, later."""
    fields = ("containers", "initContainers", "volumes", "tolerations")
    lists = [spec.get(field) or [] for field in fields]
    if not all(isinstance(found, list) for found in lists):
        return False
    items = [item for found in lists for item in found]
    texts = ("serviceAccountName", "serviceAccount", "priorityClassName", "runtimeClassName")
    return (
        all(isinstance(item, dict) for item in items)
        and all(isinstance(spec.get(field) or "", str) for field in texts)
        and all(isinstance(spec.get(field) or {}, dict) for field in ("nodeSelector", "overhead"))
        and all(isinstance(item.get("volumeMounts") or [], list) for item in items)
        and all(_has_amounts(item.get("resources") or {}) for item in items)
    )


def _has_amounts(resources: Any) -> bool:
    return isinstance(resources, dict) and all(
        isinstance(resources.get(kind) or {}, dict) for kind in ("requests", "limits")
    )


def complete_claim(store: Store, claim: Obj) -> None:
    """Gives a new volume claim that names no storage class the default one."""
    spec = claim.get("spec")
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None:
        return
    for record in store.list("storage.k8s.io/storageclasses"):
        if objects.annotations(record.obj).get(_DEFAULT_CLASS) == "true":
            spec["storageClassName"] = record.key.name
            return
