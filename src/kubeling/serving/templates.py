"""Pod templates of a service's components: what runs for a model, a container, a transformer.

Pure: everything read from the API is handed in. What differs between two revisions only by the
revision's own name (the transformer's ``--predictor_host``) is filled in last, so that the template
without it tells whether a new revision is needed.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, name, namespace
from kubeling.serving.credentials import Access
from kubeling.serving.inline import CONTAINER_FIELDS, POD_FIELDS
from kubeling.serving.names import (
    COMPONENT,
    PORT,
    REQUEST_LOG,
    REVISION,
    SERVICE,
    ComponentName,
    deployment_name,
)
from kubeling.serving.runtimes import Runtime
from kubeling.serving.storage.uris import parse_uri

__all__ = ["PodTemplate", "Surroundings", "at_revision", "digest", "predictor", "transformer"]

_MODELS: Final = "/mnt/models"
_LOGS: Final = "/mnt/request-log"
_VOLUME: Final = "kserve-provision-location"
_INITIALIZER: Final = "kubeling/storage-initializer"
_MAIN: Final = "kserve-container"
_TEMPLATE: Final = re.compile(
    r"\{\{\s*\.(Name|Namespace|Labels\.([^}\s]+)|Annotations\.([^}\s]+))\s*\}\}"
)

PodTemplate = Obj


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a template depends on besides the service: the way to storage."""

    access: Access = field(default_factory=Access)


def predictor(isvc: Obj, runtime: Runtime | None, around: Surroundings) -> PodTemplate:
    """The predictor's pods; ``runtime`` is ``None`` for containers of one's own."""
    component = isvc["spec"]["predictor"]
    pod = {key: deep_copy(value) for key, value in component.items() if key in POD_FIELDS}
    extra_labels: dict[str, str] = {}
    extra_annotations: dict[str, str] = {}
    if runtime is not None:
        pod = _runtime_pod(isvc, runtime, component["model"], pod)
        extra_labels = dict(runtime.spec.get("labels") or {})
        extra_annotations = dict(runtime.spec.get("annotations") or {})
    _prepare_containers(isvc, pod, "predictor")
    _add_storage(pod, component, around)
    _add_request_log(isvc, component, pod, built_in=_is_built_in(pod))
    return _template(isvc, "predictor", component, pod, extra_labels, extra_annotations)


def transformer(isvc: Obj) -> PodTemplate:
    """The transformer's pods, told where the predictor is."""
    component = isvc["spec"]["transformer"]
    pod = {key: deep_copy(value) for key, value in component.items() if key in POD_FIELDS}
    _prepare_containers(isvc, pod, "transformer")
    main = _main(pod)
    arguments = main.setdefault("args", [])
    given = " ".join(map(str, [*(main.get("command") or ()), *arguments]))
    model = isvc["spec"]["predictor"].get("model") or {}
    for flag, value in (
        ("--model_name", name(isvc)),
        ("--predictor_host", "{predictor}"),
        ("--http_port", str(PORT)),
        ("--predictor_protocol", model.get("protocolVersion") or "v1"),
    ):
        if flag not in given:
            arguments += [flag, value]
    _add_request_log(isvc, component, pod, built_in=False)
    return _template(isvc, "transformer", component, pod, {}, {})


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


def _runtime_pod(isvc: Obj, runtime: Runtime, model: Obj, own: Obj) -> Obj:
    """The runtime's pod, overlaid by what the user says about the pod and the container."""
    fields = {key: deep_copy(v) for key, v in runtime.spec.items() if key in POD_FIELDS}
    pod: Obj = _substitute(fields, isvc)
    mine = own.pop("containers", None) or []
    pod.update(own)
    main = _main(pod)
    for key, value in model.items():
        if key not in CONTAINER_FIELDS or value is None or key == "name":
            continue
        if key in ("args", "volumeMounts", "ports"):
            main[key] = [*(main.get(key) or ()), *deep_copy(value)]
        elif key == "env":
            main[key] = _merged_env(main.get(key) or [], deep_copy(value))
        else:
            main[key] = deep_copy(value)
    if version := model.get("runtimeVersion"):
        main["image"] = f"{main['image'].rpartition(':')[0] or main['image']}:{version}"
    pod["containers"] += [container for container in mine if container.get("name") != _MAIN]
    return pod


def _merged_env(base: list[Obj], own: list[Obj]) -> list[Obj]:
    named = {variable["name"] for variable in own}
    return [*(variable for variable in base if variable["name"] not in named), *own]


def _substitute(value: Any, isvc: Obj) -> Any:
    if isinstance(value, str):
        return _TEMPLATE.sub(lambda found: _field(found, isvc), value)
    if isinstance(value, dict):
        return {key: _substitute(item, isvc) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, isvc) for item in value]
    return value


def _field(found: re.Match[str], isvc: Obj) -> str:
    whole, label, annotation = found.groups()
    if label:
        return objects.labels(isvc).get(label, "")
    if annotation:
        return objects.annotations(isvc).get(annotation, "")
    return name(isvc) if whole == "Name" else namespace(isvc)


def _main(pod: Obj) -> Obj:
    """The container that serves: by name, else the first."""
    containers: list[Obj] = pod["containers"]
    return next((c for c in containers if c.get("name") == _MAIN), containers[0])


def _prepare_containers(isvc: Obj, pod: Obj, component: ComponentName) -> None:
    for container in pod["containers"]:
        container.setdefault("name", _MAIN)
        added = [
            {"name": "INFERENCE_SERVICE_NAME", "value": name(isvc)},
            {"name": "SERVING_COMPONENT", "value": component},
            {"name": "POD_NAMESPACE", "value": namespace(isvc)},
        ]
        container["env"] = _merged_env(added, container.get("env") or [])
    main = _main(pod)
    main.setdefault("ports", [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}])
    main.setdefault(
        "readinessProbe",
        {"tcpSocket": {"port": main["ports"][0]["containerPort"]}, "periodSeconds": 1},
    )
    # A crash's last lines reach the status through the termination message.
    main.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")


def _sources(pod: Obj, component: Obj) -> list[tuple[str, str]]:
    """The models to provide, with their places in the container."""
    if several := component.get("storageUris"):
        return [(entry["uri"], entry.get("mountPath") or _MODELS) for entry in several]
    model = component.get("model") or {}
    if uri := model.get("storageUri"):
        return [(uri, _MODELS)]
    if path := (model.get("storage") or {}).get("path"):
        parameters = model["storage"].get("parameters") or {}
        bucket = parameters.get("bucket", "")
        scheme = parameters.get("type", "s3")
        return [(path if "://" in path else f"{scheme}://{bucket}/{path.lstrip('/')}", _MODELS)]
    for variable in _main(pod).get("env") or ():
        if variable["name"] == "STORAGE_URI" and variable.get("value"):
            return [(variable["value"], _MODELS)]
    return []


def _add_storage(pod: Obj, component: Obj, around: Surroundings) -> None:
    fetched: list[tuple[str, str, int]] = []
    for index, (uri, place) in enumerate(_sources(pod, component)):
        address = parse_uri(uri)
        if address.scheme == "pvc":
            _mount_claim(pod, address.root, address.path, place, index)
        else:
            fetched.append((uri, place, index))
    if not fetched:
        return
    arguments: list[str] = []
    mounts = list(around.access.mounts)
    volumes = pod.setdefault("volumes", [])
    volumes += around.access.volumes
    for uri, place, index in fetched:
        volume = _VOLUME if index == 0 else f"{_VOLUME}-{index}"
        volumes.append({"name": volume, "emptyDir": {}})
        mounts.append({"name": volume, "mountPath": place})
        main = _main(pod)
        main["volumeMounts"] = [
            *(main.get("volumeMounts") or ()),
            {"name": volume, "mountPath": place, "readOnly": True},
        ]
        arguments += [uri, place]
        _mount_source(uri, index, volumes, mounts)
    _add_initializer(pod, arguments, list(around.access.env), mounts)


def _add_initializer(pod: Obj, arguments: list[str], env: list[Obj], mounts: list[Obj]) -> None:
    initializer: Obj = {
        "name": "storage-initializer",
        "image": _INITIALIZER,
        "command": ["python", "-m", "kubeling.serving.storage"],
        "args": arguments,
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if env:
        initializer["env"] = env
    pod["initContainers"] = [initializer, *(pod.get("initContainers") or ())]


def _mount_claim(pod: Obj, claim: str, path: str, place: str, index: int) -> None:
    """A model on a claim is mounted where the server looks, not copied."""
    volume = f"model-claim-{index}"
    pod.setdefault("volumes", []).append(
        {"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    )
    mount: Obj = {"name": volume, "mountPath": place, "readOnly": True}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    main = _main(pod)
    main["volumeMounts"] = [*(main.get("volumeMounts") or ()), mount]


def _mount_source(uri: str, index: int, volumes: list[Obj], mounts: list[Obj]) -> None:
    """A model on the node's disk is shown to the initializer at its own path."""
    address = parse_uri(uri)
    if address.scheme != "file":
        return
    folder = posixpath.dirname(address.path.rstrip("/"))
    if folder == "/" or any(mount["mountPath"] == folder for mount in mounts):
        return
    volume = f"model-source-{index}"
    volumes.append({"name": volume, "hostPath": {"path": folder, "type": "Directory"}})
    mounts.append({"name": volume, "mountPath": folder, "readOnly": True})


def _is_built_in(pod: Obj) -> bool:
    command = _main(pod).get("command") or []
    return "kubeling.serving.server" in command


def _add_request_log(isvc: Obj, component: Obj, pod: Obj, *, built_in: bool) -> None:
    """Where requests are recorded: the ``logger`` field, or the annotation for the service."""
    logger: Mapping[str, Any] | None = component.get("logger")
    annotation = objects.annotations(isvc).get(REQUEST_LOG, "")
    if logger is None:
        if not built_in or annotation in ("", "false"):
            return
        logger = {"url": "" if annotation == "true" else annotation}
    url = logger.get("url") or ""
    main = _main(pod)
    place = url if url.startswith(("http://", "https://")) else _LOGS
    if place == _LOGS:
        pod.setdefault("volumes", []).append({"name": "request-log", **_log_volume(url)})
        mount = {"name": "request-log", "mountPath": _LOGS}
        if url.startswith("pvc://") and (below := parse_uri(url).path.strip("/")):
            mount["subPath"] = below
        main["volumeMounts"] = [*(main.get("volumeMounts") or ()), mount]
    if built_in:
        mode = logger.get("mode") or "all"
        main["args"] = [*(main.get("args") or ()), f"--request_log={place}", f"--log_mode={mode}"]
    else:
        main["env"].append({"name": "REQUEST_LOG", "value": place})


def _log_volume(url: str) -> Obj:
    if not url:
        return {"emptyDir": {"sizeLimit": "64Mi"}}
    address = parse_uri(url)
    if address.scheme == "pvc":
        return {"persistentVolumeClaim": {"claimName": address.root}}
    return {"hostPath": {"path": address.path, "type": "DirectoryOrCreate"}}


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
    shown = {**annotations, **(content.get("annotations") or {})}
    if shown:
        metadata["annotations"] = shown
    return {"metadata": metadata, "spec": pod}
