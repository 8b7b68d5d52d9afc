"""What decides where a pod may run: its runtime class, and how long it stays on a lost node.

Upstream: ``plugin/pkg/admission/runtimeclass`` and ``…/defaulttolerationseconds``.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["apply_runtime_class", "tolerate_lost_nodes"]

_SECONDS: Final = 300
_LOST: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def apply_runtime_class(store: Store, pod: Obj) -> None:
    """Gives a new pod the overhead, the nodes and the tolerations of its runtime class."""
    spec, found = pod["spec"], Obj()
    if name := spec.get("runtimeClassName"):
        record = store.get(StoreKey("node.k8s.io/runtimeclasses", "", name))
        if record is None:
            raise _refused(pod, f'pod rejected: RuntimeClass "{name}" not found')
        found = record.obj
    overhead = (found.get("overhead") or {}).get("podFixed")
    if overhead is None and spec.get("overhead") is not None:
        why = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise _refused(pod, f"pod rejected: {why}")
    if overhead is not None:
        if spec.get("overhead") and _amounts(spec["overhead"]) != _amounts(overhead):
            why = "Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            raise _refused(pod, f"pod rejected: {why}")
        spec["overhead"] = dict(overhead)
    _schedule(pod, found.get("scheduling") or {})


def tolerate_lost_nodes(pod: Obj) -> None:
    """Lets a pod that says nothing else stay for five minutes on a node that does not answer."""
    given = pod["spec"].get("tolerations") or []
    missing = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
        for key in _LOST
        if not any(_tolerates(toleration, key) for toleration in given)
    ]
    if missing:
        pod["spec"]["tolerations"] = [*given, *missing]


def _schedule(pod: Obj, scheduling: Obj) -> None:
    spec, wanted = pod["spec"], scheduling.get("nodeSelector") or {}
    selector = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if selector.get(key, value) != value:
            raise _refused(
                pod,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}",
            )
    if wanted:
        spec["nodeSelector"] = {**selector, **wanted}
    given = spec.get("tolerations") or []
    more = [
        toleration for toleration in scheduling.get("tolerations") or () if toleration not in given
    ]
    if more:
        spec["tolerations"] = [*given, *more]


def _tolerates(toleration: Obj, key: str) -> bool:
    effects = (None, "", "NoExecute")
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in effects


def _amounts(listed: Obj) -> dict[str, Any]:
    """Amounts to compare; those that are none equal nothing that is one."""
    try:
        return {name: parse_quantity(value) for name, value in listed.items()}
    except ValueError:
        return listed


def _refused(pod: Obj, why: str) -> Forbidden:
    return Forbidden.of("", "pods", pod["metadata"].get("name", ""), why)
