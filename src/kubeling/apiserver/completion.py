"""Admission that fills in an object from others: accounts, limit ranges, storage classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.apiserver.podaccounts import give_account
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.kube import objects
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["check_limits", "complete_claim", "complete_pod"]

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


def complete_pod(store: Store, pod: Obj) -> None:
    """Gives a new pod its service account and the resources its namespace prescribes."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
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
    for limit in _container_limits(store, namespace):
        for container in spec.get("containers") or ():
            _prescribe(container, limit)


def check_limits(store: Store, pod: Obj) -> None:
    """Refuses a new pod with a container outside its namespace's limit ranges."""
    name = pod["metadata"].get("name", "")
    for limit in _container_limits(store, pod["metadata"]["namespace"]):
        for container in pod["spec"].get("containers") or ():
            for why in _outside(container, limit):
                raise Forbidden.of("", "pods", name, why)


def complete_claim(store: Store, claim: Obj) -> None:
    """Gives a new volume claim that names no storage class the default one."""
    spec = claim.get("spec")
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None:
        return
    for record in store.list("storage.k8s.io/storageclasses"):
        if objects.annotations(record.obj).get(_DEFAULT_CLASS) == "true":
            spec["storageClassName"] = record.key.name
            return


def _container_limits(store: Store, namespace: str) -> Iterator[Obj]:
    for record in store.list("/limitranges", namespace):
        for limit in (record.obj.get("spec") or {}).get("limits") or ():
            if limit.get("type") == "Container":
                yield limit


def _prescribe(container: Obj, limit: Obj) -> None:
    # Without a default, the most that is allowed is the default, as upstream.
    limits = limit.get("default") or limit.get("max") or {}
    requests = limit.get("defaultRequest") or limit.get("default") or limit.get("min") or {}
    resources = container.get("resources") or {}
    stated = resources.get("limits") or {}
    wanted = {
        "limits": {**limits, **stated},
        "requests": {**requests, **stated, **(resources.get("requests") or {})},
    }
    container["resources"] = {**resources, **{k: v for k, v in wanted.items() if v}}


def _outside(container: Obj, limit: Obj) -> Iterator[str]:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, most in (limit.get("max") or {}).items():
        if name in limits and parse_quantity(limits[name]) > parse_quantity(most):
            yield f"maximum {name} usage per Container is {most}, but limit is {limits[name]}"
    for name, least in (limit.get("min") or {}).items():
        if name in requests and parse_quantity(requests[name]) < parse_quantity(least):
            yield f"minimum {name} usage per Container is {least}, but request is {requests[name]}"
