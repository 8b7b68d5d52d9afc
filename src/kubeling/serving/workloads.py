"""The Deployments, Services and autoscalers of a service, as they should be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Obj, labels, name, namespace, new_object
from kubeling.kube.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from kubeling.serving.mounts import entry_container
from kubeling.serving.names import (
    AGENT_PORT_NAME,
    COMPONENT,
    COMPONENTS,
    DIGEST,
    GRPC_PORT,
    OWN_IMAGE,
    PORT,
    SERVICE,
    VARIANT,
    ComponentName,
    deployment_name,
    revision_labels,
    variant_name,
)
from kubeling.serving.scaling import ScalingPolicy, resource_metrics
from kubeling.serving.templates import PodTemplate, at_revision

__all__ = [
    "Ports",
    "autoscaler",
    "declared_grpc_port",
    "deployment",
    "entry_component",
    "grpc_port",
    "ports_of",
    "services",
    "serving_port",
]


_SCALING: Final = ("scaleMetric", "scaleTarget", "autoScaling")
_HEADLESS: Final = "None"
_H2C: Final = "kubernetes.io/h2c"


@dataclass(frozen=True, slots=True)
class Ports:
    """A component's port, and the one that it speaks gRPC on if it is known to."""

    main: int
    grpc: int | None = None


def deployment(
    isvc: Obj,
    component: ComponentName,
    number: int,
    template: PodTemplate,
    digest: str,
    replicas: int,
    title: str = "",
) -> Obj:
    """The Deployment that is a component at a revision, by default with the revision's name."""
    variant = isvc["spec"]["predictor"].get("name")
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
        title or deployment_name(name(isvc), component, number),
        namespace(isvc),
        # The service's own too, as upstream has it: by these people find what is theirs.
        labels={**labels(isvc), **selector, **({VARIANT: variant} if variant else {})},
        annotations={DIGEST: digest},
        owner=isvc,
        spec=spec,
    )


def services(
    isvc: Obj,
    ports: Mapping[tuple[ComponentName, int], Ports],
    primary: int,
    gateway: str = "",
    variants: Mapping[str, int] | None = None,
    *,
    headless: bool = False,
) -> Iterator[Obj]:
    """A Service per component and revision, and the names without one, led to ``primary``.

    With a ``gateway`` those without one lead there instead: it wakes what is at rest. ``variants``
    are the revisions of named predictors, which have Services called after them. If they are to be
    ``headless``, those of revisions are not: by these a transformer asks its predictor at port 80.
    """
    for variant, number in (variants or {}).items():
        for component in COMPONENTS:
            if port := ports.get((component, number)):
                selector = revision_labels(name(isvc), component, number)
                title = variant_name(name(isvc), component, variant)
                yield _service(isvc, title, selector, port, headless=headless)
    for (component, number), port in ports.items():
        title = deployment_name(name(isvc), component, number)
        yield _service(isvc, title, revision_labels(name(isvc), component, number), port)
    present = [component for component in COMPONENTS if (component, primary) in ports]
    for component in present:
        selector = revision_labels(name(isvc), component, primary)
        port = ports[component, primary]
        titles = [f"{name(isvc)}-{component}"]
        if component == entry_component(present):
            titles.append(name(isvc))
        for title in titles:
            yield _service(isvc, title, selector, port, gateway, headless=headless)


def entry_component(present: Collection[str]) -> str:
    """Where there is a transformer, requests enter through it."""
    return "transformer" if "transformer" in present else "predictor"


def headless_port(service: Obj | None) -> int | None:
    """Where the pods behind a headless Service are asked; nobody maps its port 80 to theirs."""
    spec: Obj = (service or {}).get("spec") or {}
    if spec.get("clusterIP") != _HEADLESS:
        return None
    spoken = [port for port in spec["ports"] if port.get("appProtocol") != _H2C]
    return int(spoken[0]["targetPort"]) if spoken else PORT


def _service(
    isvc: Obj,
    title: str,
    selector: Mapping[str, str],
    ports: Ports,
    gateway: str = "",
    *,
    headless: bool = False,
) -> Obj:
    spec: Obj = {
        "type": "ClusterIP",
        "selector": dict(selector),
        "ports": list(_service_ports(ports)),
    }
    if headless:
        spec["clusterIP"] = _HEADLESS
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


def _service_ports(ports: Ports) -> Iterator[Obj]:
    """The main port as 80, and that of gRPC as it is; as in upstream's Services."""
    main: Obj = {"name": "http", "port": 80, "targetPort": ports.main, "protocol": "TCP"}
    if ports.grpc == ports.main:
        main["appProtocol"] = _H2C
    yield main
    if ports.grpc is not None and ports.grpc != ports.main:
        shown = {"port": ports.grpc, "targetPort": ports.grpc, "protocol": "TCP"}
        yield {"name": "grpc", "appProtocol": _H2C, **shown}


def ports_of(template: PodTemplate) -> Ports:
    """Where pods of a template are asked."""
    return Ports(serving_port(template), declared_grpc_port(template))


def serving_port(template: PodTemplate) -> int:
    """The port the component answers on: its agent's, or that of the container asked first."""
    for container in template["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == AGENT_PORT_NAME:
                return int(port["containerPort"])
    ports = entry_container(template["spec"]).get("ports") or [{"containerPort": PORT}]
    return int(ports[0]["containerPort"])


def declared_grpc_port(template: PodTemplate) -> int | None:
    """The port that the container speaks gRPC on, by the port's name, a flag or its image.

    Upstream takes a port for one of gRPC if its name holds ``grpc`` or ``h2c``.
    """
    main = entry_container(template["spec"])
    for port in main.get("ports") or ():
        if any(part in str(port.get("name") or "").lower() for part in ("grpc", "h2c")):
            return int(port["containerPort"])
    arguments = " ".join(map(str, [*(main.get("command") or ()), *(main.get("args") or ())]))
    if re.search(r"--enable_grpc[= ](?i:false|0)\b", arguments):
        return None
    found = re.search(r"--grpc[_-]port[= ](\d+)", arguments)
    if found is None and str(main.get("image") or "").startswith(OWN_IMAGE):
        return GRPC_PORT
    return int(found[1]) if found else None


def grpc_port(isvc: Obj, template: PodTemplate, *, shared: bool = False) -> int:
    """The port to try for gRPC: the one declared, else that of servers made with kserve.

    Where the pod's address is ``shared`` with others, what answers at that port may be another's.
    """
    if declared := declared_grpc_port(template):
        return declared
    model = isvc["spec"]["predictor"].get("model") or {}
    port = serving_port(template)
    speaks_rest = not str(model.get("protocolVersion") or "").startswith("grpc")
    return GRPC_PORT if port == PORT and speaks_rest and not shared else port


def autoscaler(
    isvc: Obj,
    component: ComponentName,
    number: int,
    low: int,
    policy: ScalingPolicy,
    title: str,
) -> Obj | None:
    """The autoscaler of a Deployment whose component may grow, or says by what; else ``None``."""
    content = isvc["spec"][component]
    told = any(content.get(field) is not None for field in _SCALING)
    if policy.by != "hpa" or (policy.high <= low and not (told and low)):
        return None
    spec: Obj = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": title},
        "minReplicas": low,
        "maxReplicas": max(policy.high, low),
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
