"""Pod templates of a service's components: what runs for a model, a container, a transformer.

Pure: everything read from the API is handed in. What differs between two revisions only by the
revision's own name (the transformer's ``--predictor_host``) is filled in last, so that the template
without it tells whether a new revision is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, name, namespace
from kubeling.serving.credentials import Access
from kubeling.serving.in_front import add_in_front
from kubeling.serving.inline import CONTAINER_FIELDS, POD_FIELDS
from kubeling.serving.localmodel.copies import LocalCopy
from kubeling.serving.mounts import (
    MAIN_CONTAINER,
    Showing,
    add_storage,
    entry_container,
    main_container,
)
from kubeling.serving.multimodel.predictors import add_agent, is_multi_model
from kubeling.serving.names import (
    COMPONENT,
    PORT,
    REVISION,
    SERVICE,
    ComponentName,
    deployment_name,
)
from kubeling.serving.runtime_pods import merged_env, runtime_pod
from kubeling.serving.runtimes import Runtime
from kubeling.serving.server_types import prepared
from kubeling.serving.storage_containers import StorageContainers
from kubeling.serving.timeouts import USUAL_TIMEOUT
from kubeling.serving.tracing import pod_variables

__all__ = ["PodTemplate", "at_revision", "digest", "explainer", "predictor", "transformer"]

_OURS: Final = ("kserve.io", "kubeling.io", "kubectl.kubernetes.io", "autoscaling.knative.dev")
"""Groups of annotations that say something of a service and nothing of its pods."""

_SCRAPED: Final = "serving.kserve.io/enable-prometheus-scraping"
_METRICS_PORT: Final = "prometheus.kserve.io/port"
_METRICS_PATH: Final = "prometheus.kserve.io/path"

PodTemplate = Obj


def predictor(
    isvc: Obj,
    runtime: Runtime | None,
    access: Access,
    containers: StorageContainers | None = None,
    recording: Access | None = None,
) -> PodTemplate:
    """The predictor's pods; ``runtime`` is ``None`` for containers of one's own.

    Raises :class:`StorageNotFound` for a model that neither the built-in initializer nor one of the
    ``containers`` fetches.
    """
    component = isvc["spec"]["predictor"]
    pod = {key: deep_copy(value) for key, value in component.items() if key in POD_FIELDS}
    extra_labels: dict[str, str] = {}
    extra_annotations: dict[str, str] = {}
    if runtime is not None:
        isvc = prepared(isvc, runtime)
        pod = runtime_pod(isvc, runtime, isvc["spec"]["predictor"]["model"], pod)
        extra_labels = dict(runtime.spec.get("labels") or {})
        extra_annotations = dict(runtime.spec.get("annotations") or {})
    _prepare_containers(isvc, pod, "predictor")
    copy = LocalCopy.of(objects.annotations(isvc))
    add_storage(pod, component, access, containers or StorageContainers(), copy, _showing(isvc))
    if is_multi_model(component, pod):
        add_agent(pod, name(isvc), access)
    add_in_front(isvc, "predictor", pod, recording)
    return _template(isvc, "predictor", component, pod, extra_labels, extra_annotations)


def transformer(
    isvc: Obj,
    recording: Access | None = None,
    access: Access | None = None,
    containers: StorageContainers | None = None,
) -> PodTemplate:
    """The transformer's pods, told where the predictor is, with what it reads itself."""
    component = isvc["spec"]["transformer"]
    pod = {key: deep_copy(value) for key, value in component.items() if key in POD_FIELDS}
    _prepare_containers(isvc, pod, "transformer")
    found, fetching = access or Access(), containers or StorageContainers()
    add_storage(pod, component, found, fetching, showing=_showing(isvc))
    _add_flags(isvc, main_container(pod))
    add_in_front(isvc, "transformer", pod, recording)
    return _template(isvc, "transformer", component, pod, {}, {})


def _showing(isvc: Obj) -> Showing:
    return Showing.of(objects.annotations(isvc))


def _add_flags(isvc: Obj, main: Obj) -> None:
    """What a transformer or an explainer is told, unless it is told so already."""
    arguments = main.setdefault("args", [])
    given = " ".join(map(str, [*(main.get("command") or ()), *arguments]))
    model = isvc["spec"]["predictor"].get("model") or {}
    for title, value in (
        ("--model_name", name(isvc)),
        ("--predictor_host", "{predictor}"),
        ("--http_port", str(PORT)),
        ("--predictor_protocol", model.get("protocolVersion") or "v1"),
    ):
        if title not in given:
            arguments += [title, value]


def explainer(
    isvc: Obj,
    recording: Access | None = None,
    access: Access | None = None,
    containers: StorageContainers | None = None,
) -> PodTemplate:
    """The explainer's pods, told where the predictor is, with what it reads itself."""
    component = isvc["spec"]["explainer"]
    pod = {key: deep_copy(value) for key, value in component.items() if key in POD_FIELDS}
    if art := component.get("art"):
        pod["containers"] = [_art_container(art)]
    _prepare_containers(isvc, pod, "explainer")
    found, fetching = access or Access(), containers or StorageContainers()
    add_storage(pod, component, found, fetching, showing=_showing(isvc))
    _add_flags(isvc, main_container(pod))
    add_in_front(isvc, "explainer", pod, recording)
    return _template(isvc, "explainer", component, pod, {}, {})


def _art_container(art: Obj) -> Obj:
    """The container that upstream runs for ``art``."""
    own = {key: deep_copy(v) for key, v in art.items() if key in CONTAINER_FIELDS}
    image = own.pop("image", f"kserve/art-explainer:{art.get('runtimeVersion') or 'latest'}")
    settings = [f"--{key}={value}" for key, value in sorted((art.get("config") or {}).items())]
    args = ["--adversary_type", art["type"], *settings, *(own.pop("args", None) or ())]
    return {**own, "name": MAIN_CONTAINER, "image": image, "args": args}


def at_revision(
    template: PodTemplate, isvc: Obj, component: ComponentName, number: int
) -> PodTemplate:
    """The template with its revision's names filled in."""
    host = f"{deployment_name(name(isvc), 'predictor', number)}.{namespace(isvc)}"
    filled: Obj = deep_copy(template)
    revision = deployment_name(name(isvc), component, number)
    filled["metadata"]["labels"] |= {REVISION: f"{number:05d}", "app": f"isvc.{revision}"}
    for container in filled["spec"]["containers"]:
        container["args"] = [host if a == "{predictor}" else a for a in container.get("args") or ()]
        if not container["args"]:
            del container["args"]
        predictor_name = deployment_name(name(isvc), "predictor", number)
        container["env"].append({"name": "SERVING_REVISION", "value": predictor_name})
    return filled


def digest(*templates: PodTemplate | None) -> str:
    """What tells revisions apart: equal templates have equal digests."""
    text = msgspec.json.encode(templates, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


def _prepare_containers(isvc: Obj, pod: Obj, component: ComponentName) -> None:
    for container in pod["containers"]:
        container.setdefault("name", MAIN_CONTAINER)
        added = [
            {"name": "INFERENCE_SERVICE_NAME", "value": name(isvc)},
            {"name": "SERVING_COMPONENT", "value": component},
            {"name": "POD_NAMESPACE", "value": namespace(isvc)},
        ]
        if container is main_container(pod):
            added += pod_variables(isvc, component)
        elif container is entry_container(pod):
            added += pod_variables(isvc, "transformer")
        timeout = float(isvc["spec"]["predictor"].get("timeout") or 0)
        if timeout > USUAL_TIMEOUT:
            # Only then, as it makes a revision: the servers' watchdog has more patience.
            added.append({"name": "SERVING_TIMEOUT", "value": f"{timeout:.0f}"})
        container["env"] = merged_env(added, container.get("env") or [])
    main, entry = main_container(pod), entry_container(pod)
    if not entry.get("ports"):
        entry["ports"] = [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}]
    for container in (entry,) if entry is main else (entry, main):
        ports = container.get("ports") or entry["ports"]
        probe = {"tcpSocket": {"port": ports[0]["containerPort"]}, "periodSeconds": 1}
        container.setdefault("readinessProbe", probe)
        _set_probed_port(container, ports[0]["containerPort"])
    # A crash's last lines reach the status through the termination message.
    main.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")


def _set_probed_port(container: Obj, port: int) -> None:
    """Has probes that name no port ask the server's own."""
    for kind in ("livenessProbe", "readinessProbe"):
        for way in ("httpGet", "tcpSocket"):
            asked = (container.get(kind) or {}).get(way)
            if asked is not None and asked.get("port") is None:
                asked["port"] = port


def _template(
    isvc: Obj,
    component: ComponentName,
    content: Obj,
    pod: Obj,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> PodTemplate:
    metadata: Obj = {
        "labels": {
            **labels,
            **objects.labels(isvc),
            **(content.get("labels") or {}),
            SERVICE: name(isvc),
            COMPONENT: component,
        },
    }
    of_service = objects.annotations(isvc)
    passed_on = {k: v for k, v in of_service.items() if not _is_for_the_service(k)}
    shown = {**annotations, **passed_on, **(content.get("annotations") or {})}
    if of_service.get(_SCRAPED) == "true":
        shown = {**_scraping(pod, {**of_service, **shown}), **shown}
    if shown:
        metadata["annotations"] = shown
    return {"metadata": metadata, "spec": pod}


def _scraping(pod: Obj, said: Mapping[str, str]) -> dict[str, str]:
    """What Prometheus finds pods by; a runtime may say that its metrics are elsewhere."""
    ports = entry_container(pod).get("ports") or [{"containerPort": PORT}]
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": said.get(_METRICS_PORT) or str(ports[0]["containerPort"]),
        "prometheus.io/path": said.get(_METRICS_PATH) or "/metrics",
    }


def _is_for_the_service(annotation: str) -> bool:
    """Whether it is for who reads the service; others are passed on, as to Istio or Prometheus."""
    group, divider, _ = annotation.rpartition("/")
    return (not divider and annotation == "modelFormat") or group.endswith(_OURS)
