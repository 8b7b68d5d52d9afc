"""A notebook's StatefulSet, Service and status: pure functions of the notebook and its pod.

Names, labels, defaults and annotations are those of upstream's notebook controller.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, labels, name, namespace, new_object
from kubeling.kube.resources import SERVICES, STATEFUL_SETS

__all__ = ["PORT", "STOPPED", "prefix", "service", "stateful_set", "status"]

STOPPED: Final = "kubeflow-resource-stopped"
PORT: Final = 8888


def prefix(notebook: Obj) -> str:
    """The path under which the gateway serves the notebook."""
    return f"/notebook/{namespace(notebook)}/{name(notebook)}"


def stateful_set(notebook: Obj) -> Obj:
    """One pod that keeps its name; none while the notebook is stopped."""
    template: Obj = deep_copy(notebook["spec"]["template"])
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {
        **labels(notebook),
        "statefulset": name(notebook),
        "notebook-name": name(notebook),
    }
    passed_on = {
        key: value
        for key, value in objects.annotations(notebook).items()
        if "kubectl" not in key and "notebook" not in key
    }
    if passed_on:
        metadata["annotations"] = passed_on
    spec = template["spec"]
    _fill_container(notebook, spec["containers"][0])
    spec.setdefault("securityContext", {}).setdefault("fsGroup", 100)
    return new_object(
        STATEFUL_SETS,
        name(notebook),
        namespace(notebook),
        owner=notebook,
        spec={
            "replicas": 0 if STOPPED in objects.annotations(notebook) else 1,
            "serviceName": name(notebook),
            "selector": {"matchLabels": {"statefulset": name(notebook)}},
            "template": template,
        },
    )


def _fill_container(notebook: Obj, container: Obj) -> None:
    container.setdefault(
        "ports", [{"containerPort": PORT, "name": "notebook-port", "protocol": "TCP"}]
    )
    env = container.setdefault("env", [])
    if not any(entry.get("name") == "NB_PREFIX" for entry in env):
        env.append({"name": "NB_PREFIX", "value": prefix(notebook)})
    # Upstream has no probe, so a notebook counts as ready before it can be opened.
    port = container["ports"][0]["containerPort"]
    container.setdefault("readinessProbe", {"tcpSocket": {"port": port}, "periodSeconds": 1})


def service(notebook: Obj) -> Obj:
    """Port 80 in front of the first container's first port."""
    ports = notebook["spec"]["template"]["spec"]["containers"][0].get("ports") or []
    target = ports[0]["containerPort"] if ports else PORT
    return new_object(
        SERVICES,
        name(notebook),
        namespace(notebook),
        owner=notebook,
        spec={
            "type": "ClusterIP",
            "selector": {"statefulset": name(notebook)},
            "ports": [
                {
                    "name": f"http-{name(notebook)}"[:15].rstrip("-"),
                    "port": 80,
                    "targetPort": target,
                    "protocol": "TCP",
                }
            ],
        },
    )


def status(notebook: Obj, stateful: Obj | None, pod: Obj | None) -> Obj:
    """The notebook's status, from the pod's conditions and the state of its container."""
    pod_status: Any = (pod or {}).get("status") or {}
    found: Obj = {
        "readyReplicas": int(((stateful or {}).get("status") or {}).get("readyReplicas") or 0),
        "conditions": [
            {key: value for key, value in entry.items() if value is not None}
            for entry in pod_status.get("conditions") or ()
        ],
        "containerState": {},
    }
    statuses = pod_status.get("containerStatuses") or ()
    for entry in statuses:
        if entry.get("name") == name(notebook) or len(statuses) == 1:
            found["containerState"] = entry.get("state") or {}
    return found
