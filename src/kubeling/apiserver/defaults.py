"""Defaults of built-in kinds.

OpenAPI carries almost none of them: upstream sets them in Go (``pkg/apis/*/v1/defaults.go``).
Clients, controllers and GitOps tools expect to read them back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["set_defaults"]


def set_defaults(obj: Obj) -> None:
    """Fills in what upstream's server would, in place."""
    group = obj.get("apiVersion", "").rpartition("/")[0]
    if default := _KINDS.get((group, obj.get("kind", ""))):
        default(obj)


def _fill(target: Obj, values: Obj) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _pod_spec(spec: Obj) -> None:
    _fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if isinstance(container, dict):
            _container(container)
    for volume in spec.get("volumes") or ():
        if isinstance(volume, dict):
            _volume(volume)


def _container(container: Obj) -> None:
    _fill(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": _pull_policy(str(container.get("image") or "")),
        },
    )
    for port in container.get("ports") or ():
        _fill(port, {"protocol": "TCP"})
    resources = container["resources"]
    if isinstance(resources.get("limits"), dict):
        requests = resources.setdefault("requests", {})
        for name, value in resources["limits"].items():
            requests.setdefault(name, value)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for env in container.get("env") or ():
        reference = (env.get("valueFrom") or {}).get("fieldRef")
        if reference:
            _fill(reference, {"apiVersion": "v1"})


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"


def _probe(probe: Obj) -> None:
    _fill(probe, {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                  "failureThreshold": 3})  # fmt: skip
    if isinstance(probe.get("httpGet"), dict):
        _fill(probe["httpGet"], {"path": "/", "scheme": "HTTP"})


def _volume(volume: Obj) -> None:
    sources = volume.keys() - {"name"}
    if not sources:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            _fill(volume[name], {"defaultMode": 420})
    if isinstance(volume.get("hostPath"), dict):
        _fill(volume["hostPath"], {"type": ""})


def _spec(obj: Obj) -> Obj:
    spec: Any = obj.setdefault("spec", {})
    return spec if isinstance(spec, dict) else {}


def _template(spec: Obj) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        template.setdefault("metadata", {})
        _pod_spec(template["spec"])


def _pod(obj: Obj) -> None:
    spec = _spec(obj)
    _pod_spec(spec)
    _fill(spec, {"enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority",
                 "priority": 0})  # fmt: skip


def _pod_template(obj: Obj) -> None:
    _template(obj)


def _deployment(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = spec.setdefault("strategy", {})
    _fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _fill(rolling, {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(spec)


def _replica_set(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"replicas": 1})
    _template(spec)


def _stateful_set(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"})
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), {"partition": 0})
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    _fill(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
    for claim in spec.get("volumeClaimTemplates") or ():
        _claim(claim)
    _template(spec)


def _daemon_set(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"revisionHistoryLimit": 10})
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), {"maxUnavailable": 1, "maxSurge": 0})
    _template(spec)


def _job_spec(spec: Obj) -> None:
    _fill(spec, {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False})
    _fill(spec, {"podReplacementPolicy": "TerminatingOrFailed"})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _fill(spec, {"parallelism": 1})
    _template(spec)


def _job(obj: Obj) -> None:
    _job_spec(_spec(obj))


def _cron_job(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3,
                 "failedJobsHistoryLimit": 1})  # fmt: skip
    template = spec.get("jobTemplate")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _template(template["spec"])


def _service(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(
        spec, {"sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster"}
    )
    if spec["type"] != "ExternalName":
        _fill(spec, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})
    for port in spec.get("ports") or ():
        _fill(port, {"protocol": "TCP"})
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
        if port.get("nodePort") == 0:
            del port["nodePort"]


def _endpoints(obj: Obj) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _fill(port, {"protocol": "TCP"})


def _secret(obj: Obj) -> None:
    import base64

    _fill(obj, {"type": "Opaque"})
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()


def _claim(obj: Obj) -> None:
    _fill(_spec(obj), {"volumeMode": "Filesystem"})
    if "status" not in obj and obj.get("kind") != "PersistentVolumeClaim":
        obj["status"] = {"phase": "Pending"}


def _volume_resource(obj: Obj) -> None:
    _fill(_spec(obj), {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"})


def _storage_class(obj: Obj) -> None:
    _fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def _autoscaler(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"minReplicas": 1})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _binding(obj: Obj) -> None:
    reference = obj.get("roleRef")
    group = "rbac.authorization.k8s.io"
    if isinstance(reference, dict):
        _fill(reference, {"apiGroup": group})
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, {"apiGroup": group})


def _definition(obj: Obj) -> None:
    spec = _spec(obj)
    _fill(spec, {"conversion": {"strategy": "None"}})
    names = spec.get("names")
    if isinstance(names, dict) and "kind" in names:
        _fill(names, {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List"})


_KINDS: Final[dict[tuple[str, str], Callable[[Obj], None]]] = {
    ("", "Pod"): _pod,
    ("", "PodTemplate"): _pod_template,
    ("", "ReplicationController"): _replica_set,
    ("", "Service"): _service,
    ("", "Endpoints"): _endpoints,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume_resource,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
