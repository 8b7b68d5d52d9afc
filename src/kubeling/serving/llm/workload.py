"""The Deployment and the Service of a service, by upstream's names and labels.

Source: pkg/controller/v1alpha2/llmisvc/workload.go and workload_single_node.go. Upstream speaks TLS
within the cluster; here it is plain HTTP, on the same port.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, mapping, name, namespace, new_object
from kubeling.kube.resources import DEPLOYMENTS, SERVICES
from kubeling.serving.credentials import Access
from kubeling.serving.llm.presets import PORT
from kubeling.serving.llm.variables import child_name
from kubeling.serving.mounts import INITIALIZER, add_storage
from kubeling.serving.storage_containers import StorageContainers
from kubeling.serving.strategic import merged

__all__ = [
    "NAME_LABEL",
    "deployment",
    "deployment_name",
    "is_workload",
    "port_of",
    "selector",
    "service",
    "service_name",
]

NAME_LABEL: Final = "app.kubernetes.io/name"
_PART_OF: Final = {"app.kubernetes.io/part-of": "llminferenceservice"}
_COMPONENT: Final = {"kserve.io/component": "workload"}
_KIND: Final = {"app.kubernetes.io/component": "llminferenceservice-workload"}
_PASSED_ON: Final = (
    "k8s.v1.cni.cncf.io",
    "kueue.x-k8s.io",
    "prometheus.io",
    "internal.serving.kserve.io/localmodel",
)


def deployment_name(llm: Obj) -> str:
    """The Deployment of the main workload."""
    return child_name(name(llm), "-kserve")


def service_name(llm: Obj) -> str:
    """The Service within the cluster."""
    return child_name(name(llm), "-kserve-workload-svc")


def selector(llm: Obj) -> dict[str, str]:
    """What selects the pods."""
    return {NAME_LABEL: name(llm), **_PART_OF, **_COMPONENT}


def is_workload(pod: Obj) -> bool:
    """Whether a pod is of any LLM service."""
    return (_PART_OF | _COMPONENT).items() <= objects.labels(pod).items()


def port_of(template: Obj) -> int:
    """The port of the main container, which is the first."""
    ports = template["spec"]["containers"][0].get("ports") or [{}]
    return int(ports[0].get("containerPort") or PORT)


def _taken_out(pod: Obj) -> list[Obj]:
    """What the template says of the container that fetches the model, which is added."""
    found = pod.pop("initContainers", None) or []
    if others := [one for one in found if one.get("name") != INITIALIZER]:
        pod["initContainers"] = others
    return [one for one in found if one.get("name") == INITIALIZER]


def _change_initializer(pod: Obj, changes: list[Obj]) -> None:
    """Lays it over the container; what is fetched stays as it is, as upstream has it."""
    made = pod.get("initContainers") or []
    for index, container in enumerate(made):
        if container["name"] == INITIALIZER:
            fixed = {key: container[key] for key in ("name", "command", "args") if key in container}
            made[index] = merged(container, *changes) | fixed


def deployment(llm: Obj, spec: Obj, access: Access, containers: StorageContainers) -> Obj:
    """The main workload of a merged spec; raises :class:`StorageNotFound`."""
    pod = deep_copy(spec["template"])
    changes = _taken_out(pod)
    initializer = mapping(spec.get("storageInitializer"))
    uri = mapping(spec.get("model")).get("uri") or ""
    if uri and (initializer.get("enabled") is not False or uri.startswith("pvc://")):
        add_storage(pod, {"model": {"storageUri": uri}}, access, containers)
        _change_initializer(pod, changes)
    labels = {**selector(llm), **_KIND, "llm-d.ai/role": "both"}
    passed_on = {
        key: value for key, value in objects.annotations(llm).items() if key.startswith(_PASSED_ON)
    }
    metadata: Obj = {"labels": {**(spec.get("labels") or {}), **labels}}
    if annotations := {**passed_on, **(spec.get("annotations") or {})}:
        metadata["annotations"] = annotations
    wanted: Obj = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": metadata, "spec": pod},
    }
    if (replicas := replicas_of(spec)) is not None:
        wanted["replicas"] = replicas
    if strategy := spec.get("rolloutStrategy"):
        wanted["strategy"] = {"type": "RollingUpdate", "rollingUpdate": strategy}
    return new_object(
        DEPLOYMENTS,
        deployment_name(llm),
        namespace(llm),
        labels=labels,
        annotations=passed_on,
        owner=llm,
        spec=wanted,
    )


def replicas_of(spec: Obj) -> int | None:
    """How many pods there are to be; ``None`` leaves it to whoever scales the Deployment."""
    if (scaling := spec.get("scaling")) is not None:
        return int(scaling.get("minReplicas") or 1)
    found = spec.get("replicas")
    return None if found is None else int(found)


def service(llm: Obj, spec: Obj) -> Obj:
    """The name within the cluster."""
    port = {
        "name": "http",
        "appProtocol": "http",
        "protocol": "TCP",
        "port": PORT,
        "targetPort": port_of({"spec": spec["template"]}),
    }
    return new_object(
        SERVICES,
        service_name(llm),
        namespace(llm),
        labels={**_KIND, NAME_LABEL: name(llm), **_PART_OF, **(spec.get("labels") or {})},
        owner=llm,
        spec={"type": "ClusterIP", "selector": selector(llm), "ports": [port]},
    )
