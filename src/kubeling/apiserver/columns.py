"""The columns of built-in kinds, as ``kubectl get`` and ``-o wide`` show them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, parse_time

__all__ = ["BUILTIN_COLUMNS", "Cell", "Column"]

Cell = Callable[[Obj], Any]


class Column(NamedTuple):
    """One column; a ``date`` cell returns a moment that is shown as an age."""

    name: str
    type: str
    cell: Cell
    priority: int = 0
    description: str = ""


def _get(obj: Mapping[str, Any], *path: str, default: Any = "") -> Any:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            return default
    return value


def _text(name: str, *path: str, default: str = "<none>", priority: int = 0) -> Column:
    return Column(name, "string", lambda obj: str(_get(obj, *path, default=default)), priority)


def _number(name: str, *path: str) -> Column:
    return Column(name, "integer", lambda obj: _get(obj, *path, default=0))


def _computed(name: str, cell: Cell, priority: int = 0, type: str = "string") -> Column:
    return Column(name, type, cell, priority)


AGE: Final = Column("Age", "date", lambda obj: _get(obj, "metadata", "creationTimestamp"))


def _join(mapping: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in mapping.items()) or "<none>"


def _selector(*path: str) -> Cell:
    def cell(obj: Obj) -> str:
        found = _get(obj, *path, default={})
        return _join(found.get("matchLabels", found) if isinstance(found, dict) else {})

    return cell


def _containers(obj: Obj) -> list[Obj]:
    found: list[Obj] = _get(obj, "spec", "template", "spec", "containers", default=[])
    return found


_WORKLOAD_WIDE: Final = (
    _computed("Containers", lambda o: ",".join(c["name"] for c in _containers(o)), 1),
    _computed("Images", lambda o: ",".join(c.get("image", "") for c in _containers(o)), 1),
    _computed("Selector", _selector("spec", "selector"), 1),
)

# Pods


def _pod_ready(pod: Obj) -> str:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    total = len(spec.get("containers") or ()) + len(sidecars)
    names = {c["name"] for c in sidecars}
    ready = sum(bool(c.get("ready")) for c in status.get("containerStatuses") or ())
    ready += sum(
        bool(c.get("ready"))
        for c in status.get("initContainerStatuses") or ()
        if c["name"] in names
    )
    return f"{ready}/{total}"


def _pod_status(pod: Obj) -> str:
    status = pod.get("status") or {}
    reason: str = status.get("reason") or status.get("phase") or "Unknown"
    if (initial := _initialising(pod, status)) is not None:
        reason = initial
    else:
        reason = _running_reason(status, reason)
    if "deletionTimestamp" in pod["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _initialising(pod: Obj, status: Obj) -> str | None:
    spec = pod.get("spec") or {}
    initial = spec.get("initContainers") or []
    sidecars = {c["name"] for c in initial if c.get("restartPolicy") == "Always"}
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            continue
        if ended:
            return "Init:" + (
                ended.get("reason")
                or (
                    f"Signal:{ended['signal']}"
                    if ended.get("signal")
                    else f"ExitCode:{ended['exitCode']}"
                )
            )
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(initial)}"
    return None


def _running_reason(status: Obj, reason: str) -> str:
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended:
            reason = ended.get("reason") or (
                f"Signal:{ended['signal']}"
                if ended.get("signal")
                else f"ExitCode:{ended.get('exitCode')}"
            )
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition(status, "Ready") else "NotReady"
    return reason


def _condition(status: Mapping[str, Any], type: str) -> bool:
    return any(
        c.get("type") == type and c.get("status") == "True" for c in status.get("conditions") or ()
    )


def _pod_restarts(pod: Obj) -> str:
    statuses = _get(pod, "status", "containerStatuses", default=[])
    count = sum(int(c.get("restartCount") or 0) for c in statuses)
    ends = [
        ended["finishedAt"]
        for c in statuses
        if (ended := _get(c, "lastState", "terminated", default=None)) and ended.get("finishedAt")
    ]
    if not count or not ends:
        return str(count)
    since = dt.datetime.now(dt.UTC) - parse_time(max(ends))
    return f"{count} ({human_duration(since.total_seconds())} ago)"


def _gates(pod: Obj) -> str:
    gates = [gate["conditionType"] for gate in _get(pod, "spec", "readinessGates", default=[])]
    if not gates:
        return "<none>"
    met = sum(_condition(pod.get("status") or {}, gate) for gate in gates)
    return f"{met}/{len(gates)}"


_POD: Final = (
    _computed("Ready", _pod_ready),
    _computed("Status", _pod_status),
    _computed("Restarts", _pod_restarts),
    AGE,
    _text("IP", "status", "podIP", priority=1),
    _text("Node", "spec", "nodeName", priority=1),
    _text("Nominated Node", "status", "nominatedNodeName", priority=1),
    _computed("Readiness Gates", _gates, 1),
)

# Workloads


def _of(ready: tuple[str, ...], wanted: tuple[str, ...], default: int = 1) -> Cell:
    return lambda o: f"{_get(o, *ready, default=0)}/{_get(o, *wanted, default=default)}"


def _job_status(job: Obj) -> str:
    status = job.get("status") or {}
    for kind in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if _condition(status, kind):
            return kind
    return "Terminating" if "deletionTimestamp" in job["metadata"] else "Running"


def _job_completions(job: Obj) -> str:
    spec, done = job.get("spec") or {}, _get(job, "status", "succeeded", default=0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism", 1)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Obj) -> str:
    started = _get(job, "status", "startTime", default=None)
    if not started:
        return ""
    ended = _get(job, "status", "completionTime", default=None)
    end = parse_time(ended) if ended else dt.datetime.now(dt.UTC)
    return human_duration((end - parse_time(started)).total_seconds())


def _service_ports(service: Obj) -> str:
    shown = []
    for port in _get(service, "spec", "ports", default=[]):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _external_ip(service: Obj) -> str:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", "<none>"))
    found = [e.get("ip") or e.get("hostname") or "" for e in
             _get(service, "status", "loadBalancer", "ingress", default=[])]  # fmt: skip
    found += spec.get("externalIPs") or []
    return ",".join(found) or ("<pending>" if spec.get("type") == "LoadBalancer" else "<none>")


def _endpoints(obj: Obj) -> str:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return _some(shown)


def _some(shown: list[str]) -> str:
    if not shown:
        return "<none>"
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return ",".join(shown[:3]) + more


def _slice_ports(obj: Obj) -> str:
    return _some([str(port.get("port", "*")) for port in obj.get("ports") or ()])


def _slice_endpoints(obj: Obj) -> str:
    return _some([a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()])


def _node_status(node: Obj) -> str:
    ready = "Ready" if _condition(node.get("status") or {}, "Ready") else "NotReady"
    return ready + (",SchedulingDisabled" if _get(node, "spec", "unschedulable") else "")


def _node_roles(node: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = _get(node, "metadata", "labels", default={})
    return ",".join(k.removeprefix(prefix) for k in labels if k.startswith(prefix)) or "<none>"


def _node_address(kind: str) -> Cell:
    return lambda node: next(
        (a["address"] for a in _get(node, "status", "addresses", default=[]) if a["type"] == kind),
        "<none>",
    )


def _hpa_targets(hpa: Obj) -> str:
    current = {
        _get(m, "resource", "name"): m for m in _get(hpa, "status", "currentMetrics", default=[])
    }
    shown = []
    for metric in _get(hpa, "spec", "metrics", default=[]):
        if metric.get("type") != "Resource":
            shown.append(f"<unknown>/{metric.get('type', '').lower()}")
            continue
        name = metric["resource"]["name"]
        target = metric["resource"].get("target") or {}
        now = _get(current.get(name, {}), "resource", "current", default={})
        if "averageUtilization" in target:
            value = now.get("averageUtilization")
            have = "<unknown>" if value is None else f"{value}%"
            shown.append(f"{name}: {have}/{target['averageUtilization']}%")
        else:
            have = now.get("averageValue", "<unknown>")
            shown.append(f"{name}: {have}/{target.get('averageValue', target.get('value'))}")
    return ", ".join(shown) or "<none>"


def _access_modes(obj: Obj) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX",
             "ReadWriteOncePod": "RWOP"}  # fmt: skip
    modes = _get(obj, "spec", "accessModes", default=[])
    return ",".join(short.get(mode, mode) for mode in modes)


def _event_object(event: Obj) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_age(event: Obj) -> Any:
    series = _get(event, "series", "lastObservedTime", default=None)
    return (
        series
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or _get(event, "metadata", "creationTimestamp")
    )


def _role_ref(binding: Obj) -> str:
    ref = binding.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def _subjects(kind: str) -> Cell:
    def cell(binding: Obj) -> str:
        found = [s for s in binding.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"]
            for s in found
        )

    return cell


_BINDING: Final = (
    _computed("Role", _role_ref),
    AGE,
    _computed("Users", _subjects("User"), 1),
    _computed("Groups", _subjects("Group"), 1),
    _computed("ServiceAccounts", _subjects("ServiceAccount"), 1),
)
_RBAC: Final = "rbac.authorization.k8s.io"


def _quota(field: str) -> Cell:
    def cell(quota: Obj) -> str:
        hard = _get(quota, "status", "hard", default=_get(quota, "spec", "hard", default={}))
        used = _get(quota, "status", "used", default={})
        picked = [k for k in sorted(hard) if k.startswith("limits.") == (field == "limits")]
        return ", ".join(f"{k}: {used.get(k, '0')}/{hard[k]}" for k in picked)

    return cell


BUILTIN_COLUMNS: Final[dict[tuple[str, str], tuple[Column, ...]]] = {
    ("", "Pod"): _POD,
    ("", "Namespace"): (_text("Status", "status", "phase"), AGE),
    ("", "Node"): (
        _computed("Status", _node_status),
        _computed("Roles", _node_roles),
        AGE,
        _text("Version", "status", "nodeInfo", "kubeletVersion"),
        _computed("Internal-IP", _node_address("InternalIP"), 1),
        _computed("External-IP", _node_address("ExternalIP"), 1),
        _text("OS-Image", "status", "nodeInfo", "osImage", priority=1),
        _text("Kernel-Version", "status", "nodeInfo", "kernelVersion", priority=1),
        _text("Container-Runtime", "status", "nodeInfo", "containerRuntimeVersion", priority=1),
    ),
    ("", "Service"): (
        _text("Type", "spec", "type"),
        _text("Cluster-IP", "spec", "clusterIP"),
        _computed("External-IP", _external_ip),
        _computed("Port(s)", _service_ports),
        AGE,
        _computed("Selector", _selector("spec", "selector"), 1),
    ),
    ("", "Endpoints"): (_computed("Endpoints", _endpoints), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        _text("AddressType", "addressType"),
        _computed("Ports", _slice_ports),
        _computed("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("", "ConfigMap"): (
        _computed(
            "Data",
            lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {}),
            0,
            "integer",
        ),
        AGE,
    ),
    ("", "Secret"): (
        _text("Type", "type", default="Opaque"),
        _computed("Data", lambda o: len(o.get("data") or {}), 0, "integer"),
        AGE,
    ),
    ("", "ServiceAccount"): (
        _computed("Secrets", lambda o: len(o.get("secrets") or ()), 0, "integer"),
        AGE,
    ),
    ("", "Event"): (
        Column("Last Seen", "date", _event_age),
        _text("Type", "type"),
        _text("Reason", "reason"),
        _computed("Object", _event_object),
        _text("Subobject", "involvedObject", "fieldPath", default="", priority=1),
        _text("Source", "source", "component", default="", priority=1),
        _text("Message", "message", default=""),
        Column("First Seen", "date", lambda o: o.get("firstTimestamp") or _event_age(o), 1),
        Column("Count", "string", lambda o: str(o.get("count") or 1), 1),
    ),
    ("", "PersistentVolumeClaim"): (
        _text("Status", "status", "phase"),
        _text("Volume", "spec", "volumeName", default=""),
        _text("Capacity", "status", "capacity", "storage", default=""),
        _computed("Access Modes", _access_modes),
        _text("StorageClass", "spec", "storageClassName", default=""),
        _text("VolumeAttributesClass", "spec", "volumeAttributesClassName", default="<unset>"),
        AGE,
        _text("VolumeMode", "spec", "volumeMode", default="Filesystem", priority=1),
    ),
    ("", "PersistentVolume"): (
        _text("Capacity", "spec", "capacity", "storage", default=""),
        _computed("Access Modes", _access_modes),
        _text("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"),
        _text("Status", "status", "phase"),
        _computed(
            "Claim",
            lambda o: "/".join(_get(o, "spec", "claimRef", k) for k in ("namespace", "name")).strip(
                "/"
            ),
        ),
        _text("StorageClass", "spec", "storageClassName", default=""),
        AGE,
    ),
    ("", "ResourceQuota"): (
        _computed("Request", _quota("requests")),
        _computed("Limit", _quota("limits")),
        AGE,
    ),
    ("apps", "Deployment"): (
        _computed("Ready", _of(("status", "readyReplicas"), ("spec", "replicas"))),
        _number("Up-to-date", "status", "updatedReplicas"),
        _number("Available", "status", "availableReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "ReplicaSet"): (
        _number("Desired", "spec", "replicas"),
        _number("Current", "status", "replicas"),
        _number("Ready", "status", "readyReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "StatefulSet"): (
        _computed("Ready", _of(("status", "readyReplicas"), ("spec", "replicas"))),
        AGE,
        *_WORKLOAD_WIDE[:2],
    ),
    ("apps", "DaemonSet"): (
        _number("Desired", "status", "desiredNumberScheduled"),
        _number("Current", "status", "currentNumberScheduled"),
        _number("Ready", "status", "numberReady"),
        _number("Up-to-date", "status", "updatedNumberScheduled"),
        _number("Available", "status", "numberAvailable"),
        _computed("Node Selector", _selector("spec", "template", "spec", "nodeSelector")),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("batch", "Job"): (
        _computed("Status", _job_status),
        _computed("Completions", _job_completions),
        _computed("Duration", _job_duration),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("batch", "CronJob"): (
        _text("Schedule", "spec", "schedule"),
        _text("Timezone", "spec", "timeZone"),
        _computed("Suspend", lambda o: str(bool(_get(o, "spec", "suspend", default=False)))),
        _computed("Active", lambda o: len(_get(o, "status", "active", default=[])), 0, "integer"),
        Column(
            "Last Schedule", "date", lambda o: _get(o, "status", "lastScheduleTime", default=None)
        ),
        AGE,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        _computed(
            "Reference",
            lambda o: "/".join(_get(o, "spec", "scaleTargetRef", k) for k in ("kind", "name")),
        ),
        _computed("Targets", _hpa_targets),
        _computed("MinPods", lambda o: str(_get(o, "spec", "minReplicas", default="<unset>"))),
        _number("MaxPods", "spec", "maxReplicas"),
        _number("Replicas", "status", "currentReplicas"),
        AGE,
    ),
    ("coordination.k8s.io", "Lease"): (_text("Holder", "spec", "holderIdentity", default=""), AGE),
    ("storage.k8s.io", "StorageClass"): (
        _text("Provisioner", "provisioner"),
        _text("ReclaimPolicy", "reclaimPolicy", default="Delete"),
        _text("VolumeBindingMode", "volumeBindingMode", default="Immediate"),
        _computed(
            "AllowVolumeExpansion", lambda o: str(bool(o.get("allowVolumeExpansion"))).lower()
        ),
        AGE,
    ),
    (_RBAC, "Role"): (
        Column("Created At", "string", lambda o: o["metadata"].get("creationTimestamp")),
    ),
    (_RBAC, "ClusterRole"): (
        Column("Created At", "string", lambda o: o["metadata"].get("creationTimestamp")),
    ),
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        Column("Created At", "string", lambda o: o["metadata"].get("creationTimestamp")),
    ),
    ("policy", "PodDisruptionBudget"): (
        _text("Min Available", "spec", "minAvailable", default="N/A"),
        _text("Max Unavailable", "spec", "maxUnavailable", default="N/A"),
        _number("Allowed Disruptions", "status", "disruptionsAllowed"),
        AGE,
    ),
    ("scheduling.k8s.io", "PriorityClass"): (
        _number("Value", "value"),
        _computed("Global-Default", lambda o: str(bool(o.get("globalDefault"))).lower()),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        _computed("Pod-Selector", _selector("spec", "podSelector")),
        AGE,
    ),
}
