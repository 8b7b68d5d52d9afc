"""The columns of what a cluster consists of: nodes, namespaces, quotas, events, leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.columns.column import (
    AGE,
    CREATED_AT,
    Columns,
    age,
    computed,
    get,
    number,
    text,
)
from kubeling.apiserver.columns.pods import has_condition
from kubeling.kube.objects import Obj

__all__ = ["CLUSTER_COLUMNS"]

_ROLE: Final = "node-role.kubernetes.io/"
_OLD_ROLE: Final = "kubernetes.io/role"

# Nodes


def _node_status(node: Obj) -> str:
    conditions = get(node, "status", "conditions", default=[])
    known = any(condition.get("type") == "Ready" for condition in conditions)
    ready = has_condition(node.get("status") or {}, "Ready")
    status = "Ready" if ready else "NotReady" if known else "Unknown"
    return status + (",SchedulingDisabled" if get(node, "spec", "unschedulable") else "")


def _node_roles(node: Obj) -> str:
    labels = get(node, "metadata", "labels", default={})
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    roles |= {labels[_OLD_ROLE]} if labels.get(_OLD_ROLE) else set()
    return ",".join(sorted(roles - {""})) or "<none>"


def _node_address(kind: str) -> Callable[[Obj], str]:
    return lambda node: next(
        (a["address"] for a in get(node, "status", "addresses", default=[]) if a["type"] == kind),
        "<none>",
    )


# Events, in the spelling of either group


def _event_object(event: Obj) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    kind, name = about.get("kind", "").lower(), about.get("name", "")
    return f"{kind}/{name}" if name else kind


def _first_seen(event: Obj) -> Any:
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    return first or event.get("eventTime") or get(event, "metadata", "creationTimestamp")


def _last_seen(event: Obj) -> Any:
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    series = get(event, "series", "lastObservedTime", default=None)
    return series or last or _first_seen(event)


def _count(event: Obj) -> int:
    series = get(event, "series", "count", default=0)
    return int(series or event.get("count") or event.get("deprecatedCount") or 1)


def _source(event: Obj) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    reporter = event.get("reportingComponent") or event.get("reportingController")
    component = source.get("component") or reporter or ""
    return ", ".join(filter(None, (component, source.get("host"))))


def _field(event: Obj) -> str:
    return str(get(event.get("involvedObject") or event.get("regarding") or {}, "fieldPath"))


_EVENT: Final = (
    age("Last Seen", _last_seen),
    text("Type", "type", default=""),
    text("Reason", "reason", default=""),
    computed("Object", _event_object),
    computed("Subobject", _field, 1),
    computed("Source", _source, 1),
    computed("Message", lambda o: (o.get("message") or o.get("note") or "").strip()),
    age("First Seen", _first_seen, 1),
    computed("Count", _count, 1, "integer"),
    text("Name", "metadata", "name", default="", priority=1),
)

# Quotas


def _quota(limits: bool) -> Callable[[Obj], str]:
    def read(quota: Obj) -> str:
        hard = get(quota, "status", "hard", default=get(quota, "spec", "hard", default={}))
        used = get(quota, "status", "used", default={})
        names = [name for name in sorted(hard) if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return read


# APIServices


def _api_service(api_service: Obj) -> str:
    service = get(api_service, "spec", "service", default={})
    return f"{service['namespace']}/{service['name']}" if service else "Local"


def _api_service_available(api_service: Obj) -> str:
    for condition in get(api_service, "status", "conditions", default=[]):
        if condition["type"] == "Available":
            status, reason = condition["status"], condition.get("reason", "")
            return "True" if status == "True" else f"{status} ({reason})"
    return "Unknown"


# Policies


def _listed(field: str) -> Callable[[Obj], int]:
    return lambda policy: len(get(policy, "spec", field, default=[]))


def _param_kind(policy: Obj) -> str:
    kind = get(policy, "spec", "paramKind", default={})
    return f"{kind['apiVersion']}/{kind['kind']}" if kind else "<unset>"


def _param_ref(binding: Obj) -> str:
    reference = get(binding, "spec", "paramRef", default={})
    if not reference:
        return "<unset>"
    if not reference.get("name"):
        return "*"
    namespace = reference.get("namespace")
    return f"{namespace}/{reference['name']}" if namespace else str(reference["name"])


_POLICY_BINDING: Final = (
    text("PolicyName", "spec", "policyName"),
    computed("ParamRef", _param_ref),
    AGE,
)

CLUSTER_COLUMNS: Final[Columns] = {
    ("", "Namespace"): (text("Status", "status", "phase"), AGE),
    ("", "Node"): (
        computed("Status", _node_status),
        computed("Roles", _node_roles),
        AGE,
        text("Version", "status", "nodeInfo", "kubeletVersion"),
        computed("Internal-IP", _node_address("InternalIP"), 1),
        computed("External-IP", _node_address("ExternalIP"), 1),
        text("OS-Image", "status", "nodeInfo", "osImage", priority=1),
        text("Kernel-Version", "status", "nodeInfo", "kernelVersion", priority=1),
        text("Container-Runtime", "status", "nodeInfo", "containerRuntimeVersion", priority=1),
    ),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "ResourceQuota"): (
        computed("Request", _quota(limits=False)),
        computed("Limit", _quota(limits=True)),
        AGE,
    ),
    ("", "LimitRange"): (CREATED_AT,),
    ("coordination.k8s.io", "Lease"): (text("Holder", "spec", "holderIdentity", default=""), AGE),
    ("scheduling.k8s.io", "PriorityClass"): (
        number("Value", "value"),
        computed("Global-Default", lambda o: bool(o.get("globalDefault")), type="boolean"),
        AGE,
        text("PreemptionPolicy", "preemptionPolicy", default=""),
    ),
    ("node.k8s.io", "RuntimeClass"): (text("Handler", "handler", default=""), AGE),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (CREATED_AT,),
    ("apiregistration.k8s.io", "APIService"): (
        computed("Service", _api_service),
        computed("Available", _api_service_available),
        AGE,
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): (
        computed("Validations", _listed("validations"), type="integer"),
        computed("ParamKind", _param_kind),
        AGE,
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): _POLICY_BINDING,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): (
        computed("Mutations", _listed("mutations"), type="integer"),
        computed("ParamKind", _param_kind),
        AGE,
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): _POLICY_BINDING,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): (
        computed("Webhooks", lambda o: len(o.get("webhooks") or ()), type="integer"),
        AGE,
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): (
        computed("Webhooks", lambda o: len(o.get("webhooks") or ()), type="integer"),
        AGE,
    ),
}
