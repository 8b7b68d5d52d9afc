"""The flow schemas and priority levels of every cluster (``apis/flowcontrol/bootstrap``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.kube.resources import FLOW_SCHEMAS, PRIORITY_LEVELS, Resource

__all__ = ["AUTO_UPDATE", "MANDATORY", "dangling", "flow_control_objects"]

AUTO_UPDATE: Final = "apf.kubernetes.io/autoupdate-spec"
MANDATORY: Final = ("catch-all", "exempt")
"""What cannot be deleted, nor be other than it is."""

_LEVELS: Final = {
    "system": (30, 33, 64, 6),
    "node-high": (40, 25, 64, 6),
    "leader-election": (10, 0, 16, 4),
    "workload-high": (40, 50, 128, 6),
    "workload-low": (100, 90, 128, 6),
    "global-default": (20, 50, 128, 6),
}
"""Concurrency shares, lendable percent, queues and hand size of the suggested levels."""

_EVERYTHING: Final[Obj] = {
    "resourceRules": [
        {
            "verbs": ["*"],
            "apiGroups": ["*"],
            "resources": ["*"],
            "clusterScope": True,
            "namespaces": ["*"],
        }
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def flow_control_objects(moment: str) -> Iterator[tuple[Resource, Obj]]:
    """All of them, levels first, as they are from that moment on."""
    yield from _levels()
    for resource, schema in _schemas():
        level = schema["spec"]["priorityLevelConfiguration"]["name"]
        condition = dangling(level, found=True, moment=moment)
        yield resource, {**schema, "status": {"conditions": [condition]}}


def dangling(level: str, *, found: bool, moment: str) -> Obj:
    """The condition of a flow schema that tells whether its level exists."""
    rest = "and it exists" if found else "but there is no such object"
    about = f'the PriorityLevelConfiguration object named "{level}"'
    return {
        "type": "Dangling",
        "status": "False" if found else "True",
        "reason": "Found" if found else "NotFound",
        "message": f"This FlowSchema references {about} {rest}",
        "lastTransitionTime": moment,
    }


def _levels() -> Iterator[tuple[Resource, Obj]]:
    none = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    yield _object(PRIORITY_LEVELS, "exempt", {"type": "Exempt", "exempt": none})
    reject = {"limitResponse": {"type": "Reject"}, "lendablePercent": 0}
    yield _object(
        PRIORITY_LEVELS,
        "catch-all",
        {"type": "Limited", "limited": {"nominalConcurrencyShares": 5, **reject}},
    )
    for name, (shares, lendable, queues, hand) in _LEVELS.items():
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
        limited = {
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": {"type": "Queue", "queuing": queuing},
        }
        yield _object(PRIORITY_LEVELS, name, {"type": "Limited", "limited": limited})


def _schemas() -> Iterator[tuple[Resource, Obj]]:
    anyone = _groups("system:unauthenticated", "system:authenticated")
    nodes, accounts = _groups("system:nodes"), _groups("system:serviceaccounts")
    system = _account("*", "kube-system")
    manager, scheduler = _user("system:kube-controller-manager"), _user("system:kube-scheduler")
    probes = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
    leases = _resources(["get", "create", "update"], "coordination.k8s.io", ["leases"])
    on_nodes = [
        {**_resources(["*"], "", ["nodes", "nodes/status"]), "clusterScope": True},
        _resources(["*"], "coordination.k8s.io", ["leases"]),
    ]
    by_user, by_namespace = "ByUser", "ByNamespace"
    for name, level, precedence, method, subjects, rules in (
        ("exempt", "exempt", 1, "", _groups("system:masters"), _EVERYTHING),
        ("probes", "exempt", 2, "", anyone, {"nonResourceRules": [probes]}),
        (
            *("system-leader-election", "leader-election", 100, by_user),
            *([manager, scheduler, system], {"resourceRules": [leases]}),
        ),
        ("system-node-high", "node-high", 400, by_user, nodes, {"resourceRules": on_nodes}),
        ("system-nodes", "system", 500, by_user, nodes, _EVERYTHING),
        ("kube-controller-manager", "workload-high", 800, by_namespace, [manager], _EVERYTHING),
        ("kube-scheduler", "workload-high", 800, by_namespace, [scheduler], _EVERYTHING),
        ("kube-system-service-accounts", "workload-high", 900, by_namespace, [system], _EVERYTHING),
        ("service-accounts", "workload-low", 9000, by_user, accounts, _EVERYTHING),
        ("global-default", "global-default", 9900, by_user, anyone, _EVERYTHING),
        ("catch-all", "catch-all", 10000, by_user, anyone, _EVERYTHING),
    ):
        spec: Obj = {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            "rules": [{"subjects": subjects, **rules}],
        }
        if method:
            spec["distinguisherMethod"] = {"type": method}
        yield _object(FLOW_SCHEMAS, name, spec)


def _object(resource: Resource, name: str, spec: Obj) -> tuple[Resource, Obj]:
    return resource, {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    }


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _user(name: str) -> Obj:
    return {"kind": "User", "user": {"name": name}}


def _account(name: str, namespace: str) -> Obj:
    return {"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": namespace}}


def _resources(verbs: list[str], group: str, resources: list[str]) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]}
