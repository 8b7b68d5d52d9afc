"""Names, labels and annotations that tie a service's objects together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from kubeling.kube.objects import Obj, name

if TYPE_CHECKING:
    from kubeling.component import Settings

__all__ = [
    "AT_REST",
    "AUTOSCALER_CLASS",
    "COLLOCATED",
    "COMPONENT",
    "COMPONENTS",
    "CONVERT_TO_ONNX",
    "DEPLOYMENT_MODE",
    "DIGEST",
    "GATEWAY",
    "GRPC_PORT",
    "KNATIVE",
    "MONITORING",
    "OWN_IMAGE",
    "PORT",
    "REJECTED",
    "RETRAIN",
    "RETRAINED",
    "REVISION",
    "ROLLBACK_DRIFT",
    "ROLLBACK_ERROR_RATE",
    "ROLLBACK_P99",
    "SERVICE",
    "SOURCE_VOLUME",
    "STANDARD",
    "STOP",
    "TRIED",
    "VARIANT",
    "WARM_PYTHON",
    "ComponentName",
    "at_rest_annotations",
    "component_selector",
    "deployment_name",
    "host_names",
    "is_knative",
    "revision_labels",
    "variant_name",
]

ComponentName = Literal["predictor", "transformer", "explainer"]

SERVICE: Final = "serving.kserve.io/inferenceservice"
COMPONENT: Final = "component"
COMPONENTS: Final[tuple[ComponentName, ...]] = ("predictor", "transformer", "explainer")
REVISION: Final = "serving.kubeling.io/revision"
VARIANT: Final = "serving.kubeling.io/variant"
"""On a Deployment: ``predictor.name``, of the stable predictor or of a canary."""
AT_REST: Final = "serving.kubeling.io/at-rest"
"""On a Deployment: ``true`` if it has no pods because nobody asks, then ``waking`` until ready."""
WARM_PYTHON: Final = "kubeling.io/warm-python"
"""On a Deployment: ``ready`` has the node keep the interpreters of its pods, if it can."""
GATEWAY: Final = ("kubeflow", "kubeling")
"""The Service of the inference gateway, where there is one."""
DIGEST: Final = "serving.kubeling.io/template-digest"
STOP: Final = "serving.kserve.io/stop"
AUTOSCALER_CLASS: Final = "serving.kserve.io/autoscalerClass"
DEPLOYMENT_MODE: Final = "serving.kserve.io/deploymentMode"
STANDARD: Final = "Standard"
KNATIVE: Final = "Knative"
REJECTED: Final = "serving.kubeling.io/rejected"
"""On a Deployment: why a canary was rolled back."""
TRIED: Final = "serving.kubeling.io/tried"
"""On a stable predictor's Deployment: the highest number that a canary beside it had."""
ROLLBACK_ERROR_RATE: Final = "serving.kubeling.io/rollback-error-rate"
ROLLBACK_P99: Final = "serving.kubeling.io/rollback-p99"
ROLLBACK_DRIFT: Final = "serving.kubeling.io/rollback-drift"
"""The largest population stability index of a canary's answers against the stable revision's."""
CONVERT_TO_ONNX: Final = "serving.kubeling.io/convert-to-onnx"
"""On a service: ``false`` has its model answered by its own library."""
MODEL_DIGEST: Final = "serving.kubeling.io/model-digest"
"""On pods: of the files that their model had on the node's disk."""
MONITORING: Final = "serving.kubeling.io/monitoring"
RETRAIN: Final = "serving.kubeling.io/retrain"
RETRAINED: Final = "serving.kubeling.io/retrained"
"""On a service: for which episode of drift a run was started last, and which."""
REQUEST_LOG: Final = "serving.kubeling.io/request-log"
LOG_FAILURES: Final = "serving.kubeling.io/log-failures"
SOURCE_VOLUME: Final = "model-source"
COLLOCATED: Final = "transformer-container"
"""A transformer beside the model, in the predictor's own pods."""
PORT: Final = 8080
OWN_IMAGE: Final = "kubeling/model-server"
"""Of the built-in runtimes; the tag is the model's format."""
GRPC_PORT: Final = 8081
AGENT_PORT: Final = 9081
AGENT_PORT_NAME: Final = "agent-port"
"""The port of what stands in front of a container of one's own, as upstream names it."""


def deployment_name(isvc: str, component: ComponentName, number: int) -> str:
    """The Deployment, Service and revision name of one component at one revision."""
    return f"{isvc}-{component}-{number:05d}"


def variant_name(isvc: str, component: ComponentName, variant: str) -> str:
    """The Deployment and Service of a component, as upstream calls them by ``predictor.name``."""
    return f"{isvc}-{variant}-{component}" if variant else f"{isvc}-{component}"


def revision_labels(isvc: str, component: ComponentName, number: int) -> dict[str, str]:
    """The labels that select the pods of one component at one revision."""
    return {SERVICE: isvc, COMPONENT: component, REVISION: f"{number:05d}"}


def at_rest_annotations(state: Literal["true", "waking"] | None) -> dict[str, str | None]:
    """What a Deployment says of its rest; as a patch, in which ``None`` removes."""
    return {AT_REST: state, WARM_PYTHON: "ready" if state == "true" else None}


def component_selector(isvc: str, component: ComponentName) -> str:
    """A label selector for the pods of a component, all revisions together."""
    return f"{SERVICE}={isvc},{COMPONENT}={component}"


def is_knative(annotations: Mapping[str, Any]) -> bool:
    """Whether a service is to behave as those of the mode that upstream runs by Knative."""
    return annotations.get(DEPLOYMENT_MODE) == KNATIVE


def host_names(
    isvc: Obj, settings: Settings, component: ComponentName | None = None
) -> tuple[str, ...]:
    """The host names a service, or a component of it, answers to; that in the status first."""
    namespace = isvc["metadata"].get("namespace", "")
    title = f"{name(isvc)}-{component}" if component else name(isvc)
    return tuple(
        f"{title}{separator}{namespace}{ending}"
        for separator, ending in (
            ("-", f".{settings.ingress_domain}"),
            (".", f".{settings.ingress_domain}"),
            (".", ""),
            (".", ".svc"),
            (".", f".svc.{settings.cluster_domain}"),
        )
    )
