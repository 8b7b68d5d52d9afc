"""The Deployments, Services and autoscalers of a service, as they should be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name, namespace, new_object
from kubeling.kube.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from kubeling.serving.names import (
    AUTOSCALER_CLASS,
    COMPONENT,
    COMPONENTS,
    DIGEST,
    PORT,
    SERVICE,
    ComponentName,
    deployment_name,
    revision_labels,
)
from kubeling.serving.templates import PodTemplate, at_revision

__all__ = [
    "autoscaler",
    "deployment",
    "entry_component",
    "replica_limits",
    "services",
    "serving_port",
]

_DEFAULT_TARGET: Final = 80


def deployment(
    isvc: Obj,
    component: ComponentName,
    number: int,
    template: PodTemplate,
    digest: str,
    replicas: int,
) -> Obj:
    """The Deployment that is a component at a revision."""
    selector = revision_labels(name(isvc), component, number)
    spec: Obj = {
        "replicas": replicas,
        "selector": {"matchLabels": selector},
        "template": at_revision(template, isvc, component, number),
    }
    if strategy := isvc["spec"][component].get("deploymentStrategy"):
        spec["strategy"] = strategy
    return new_object(
        DEPLOYMENTS,
        deployment_name(name(isvc), component, number),
        namespace(isvc),
        labels=selector,
        annotations={DIGEST: digest},
        owner=isvc,
        spec=spec,
    )


def services(
    isvc: Obj, ports: Mapping[tuple[ComponentName, int], int], primary: int
) -> Iterator[Obj]:
    """A Service per component and revision, and the names without one, led to ``primary``."""
    for (component, number), port in ports.items():
        title = deployment_name(name(isvc), component, number)
        yield _service(isvc, title, revision_labels(name(isvc), component, number), port)
    present = [component for component in COMPONENTS if (component, primary) in ports]
    for component in present:
        selector = revision_labels(name(isvc), component, primary)
        port = ports[component, primary]
        yield _service(isvc, f"{name(isvc)}-{component}", selector, port)
        if component == entry_component(present):
            yield _service(isvc, name(isvc), selector, port)


def entry_component(present: Collection[str]) -> str:
    """Where there is a transformer, requests enter through it."""
    return "transformer" if "transformer" in present else "predictor"


def _service(isvc: Obj, title: str, selector: Mapping[str, str], port: int) -> Obj:
    return new_object(
        SERVICES,
        title,
        namespace(isvc),
        labels={SERVICE: name(isvc), COMPONENT: selector[COMPONENT]},
        owner=isvc,
        spec={
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}],
        },
    )


def serving_port(template: PodTemplate) -> int:
    """The port the component's main container listens on."""
    containers = template["spec"]["containers"]
    main = next((c for c in containers if c.get("name") == "kserve-container"), containers[0])
    ports = main.get("ports") or [{"containerPort": PORT}]
    return int(ports[0]["containerPort"])


def replica_limits(component: Mapping[str, Any]) -> tuple[int, int]:
    """The fewest and the most pods; without a way to wake a service there is always one."""
    low = max(1, int(component.get("minReplicas") or 1))
    return low, max(low, int(component.get("maxReplicas") or 0))


def autoscaler(isvc: Obj, component: ComponentName, number: int, low: int) -> Obj | None:
    """The autoscaler of a revision whose component may grow, else ``None``."""
    content = isvc["spec"][component]
    _, high = replica_limits(content)
    chosen = objects.annotations(isvc).get(AUTOSCALER_CLASS, "hpa")
    if chosen != "hpa" or high <= low:
        return None
    title = deployment_name(name(isvc), component, number)
    metric = "memory" if content.get("scaleMetric") == "memory" else "cpu"
    target = int(content.get("scaleTarget") or _DEFAULT_TARGET)
    return new_object(
        HORIZONTAL_POD_AUTOSCALERS,
        title,
        namespace(isvc),
        labels=revision_labels(name(isvc), component, number),
        owner=isvc,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": title},
            "minReplicas": low,
            "maxReplicas": high,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": metric,
                        "target": {"type": "Utilization", "averageUtilization": target},
                    },
                }
            ],
        },
    )
