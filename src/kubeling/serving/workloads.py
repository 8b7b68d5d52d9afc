"""The Deployments, Services and autoscalers of a service, as they should be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from kubeling.kube.objects import Obj, name, namespace, new_object
from kubeling.kube.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from kubeling.serving.names import (
    COMPONENT,
    COMPONENTS,
    DIGEST,
    PORT,
    SERVICE,
    ComponentName,
    deployment_name,
    revision_labels,
)
from kubeling.serving.scaling import ScalingPolicy, resource_metrics
from kubeling.serving.templates import PodTemplate, at_revision

__all__ = [
    "autoscaler",
    "deployment",
    "entry_component",
    "services",
    "serving_port",
]


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
    isvc: Obj, ports: Mapping[tuple[ComponentName, int], int], primary: int, gateway: str = ""
) -> Iterator[Obj]:
    """A Service per component and revision, and the names without one, led to ``primary``.

    With a ``gateway`` those without one lead there instead: it wakes what is at rest.
    """
    for (component, number), port in ports.items():
        title = deployment_name(name(isvc), component, number)
        yield _service(isvc, title, revision_labels(name(isvc), component, number), port)
    present = [component for component in COMPONENTS if (component, primary) in ports]
    for component in present:
        selector = revision_labels(name(isvc), component, primary)
        port = ports[component, primary]
        yield _service(isvc, f"{name(isvc)}-{component}", selector, port, gateway)
        if component == entry_component(present):
            yield _service(isvc, name(isvc), selector, port, gateway)


def entry_component(present: Collection[str]) -> str:
    """Where there is a transformer, requests enter through it."""
    return "transformer" if "transformer" in present else "predictor"


def _service(
    isvc: Obj, title: str, selector: Mapping[str, str], port: int, gateway: str = ""
) -> Obj:
    spec: Obj = {
        "type": "ClusterIP",
        "selector": dict(selector),
        "ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}],
    }
    if gateway:
        spec = {"type": "ExternalName", "externalName": gateway}
    return new_object(
        SERVICES,
        title,
        namespace(isvc),
        labels={SERVICE: name(isvc), COMPONENT: selector[COMPONENT]},
        owner=isvc,
        spec=spec,
    )


def serving_port(template: PodTemplate) -> int:
    """The port the component's main container listens on."""
    containers = template["spec"]["containers"]
    main = next((c for c in containers if c.get("name") == "kserve-container"), containers[0])
    ports = main.get("ports") or [{"containerPort": PORT}]
    return int(ports[0]["containerPort"])


def autoscaler(
    isvc: Obj, component: ComponentName, number: int, low: int, policy: ScalingPolicy
) -> Obj | None:
    """The autoscaler of a revision whose component may grow, else ``None``."""
    if policy.by != "hpa" or policy.high <= low:
        return None
    title = deployment_name(name(isvc), component, number)
    content = isvc["spec"][component]
    spec: Obj = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": title},
        "minReplicas": low,
        "maxReplicas": policy.high,
        "metrics": resource_metrics(content, policy),
    }
    if behavior := (content.get("autoScaling") or {}).get("behavior"):
        spec["behavior"] = behavior
    return new_object(
        HORIZONTAL_POD_AUTOSCALERS,
        title,
        namespace(isvc),
        labels=revision_labels(name(isvc), component, number),
        owner=isvc,
        spec=spec,
    )
