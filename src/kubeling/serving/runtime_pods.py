"""A model's pod: the runtime's, and over it what the service says about pod and container.

Source: ``MergeServingRuntimeAndInferenceServiceSpecs`` and ``buildPodSpec`` of kserve. Arguments
are added; the rest is merged as Kubernetes merges. Three things are kinder: variables of the
service may refer to those of the runtime before them, a limit below the runtime's request lowers
the request, and a port that is moved moves its probe.
"""

from __future__ import annotations

import re
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, name, namespace
from kubeling.kube.quantities import parse_quantity
from kubeling.serving.arguments import flag
from kubeling.serving.inline import CONTAINER_FIELDS, POD_FIELDS
from kubeling.serving.mounts import MAIN_CONTAINER, main_container
from kubeling.serving.names import COLLOCATED
from kubeling.serving.runtimes import Runtime
from kubeling.serving.server_types import image_of
from kubeling.serving.strategic import merged

__all__ = ["merged_env", "runtime_pod"]

_TEMPLATE: Final = re.compile(
    r"\{\{\s*\.(Name|Namespace|Labels\.([^}\s]+)|Annotations\.([^}\s]+))\s*\}\}"
)


def runtime_pod(isvc: Obj, runtime: Runtime, model: Obj, own: Obj) -> Obj:
    """The runtime's pod, overlaid by what the user says about the pod and the container."""
    fields = {key: value for key, value in runtime.spec.items() if key in POD_FIELDS}
    pod: Obj = _substitute(fields, isvc)
    mine = own.pop("containers", None) or []
    pod = merged({k: v for k, v in pod.items() if k != "containers"}, own) | {
        "containers": pod["containers"]
    }
    main = main_container(pod)
    _move_port(main, flag(model.get("args"), "--http_port"))
    _lay_over(main, model)
    main["image"] = image_of(main, runtime, model.get("runtimeVersion"))
    for container in mine:
        title = container.get("name")
        below = next((c for c in pod["containers"] if c.get("name") == title), None)
        if title == MAIN_CONTAINER:
            below = main
        if below is None:
            pod["containers"].append(container)
        else:
            _lay_over(below, container)
    for index, container in enumerate(pod["containers"]):
        if container is main or container.get("name") == COLLOCATED:
            pod["containers"][index] = _substitute(container, isvc)
    return pod


def _lay_over(main: Obj, own: Obj) -> None:
    """Merges a container into the runtime's."""
    for key, value in own.items():
        if key not in CONTAINER_FIELDS or value is None or key == "name":
            continue
        before = main.get(key) or []
        if key == "args":
            main[key] = [*before, *value]
        elif key == "volumeMounts":
            taken = {mount["mountPath"] for mount in value}
            main[key] = [*(m for m in before if m["mountPath"] not in taken), *deep_copy(value)]
        elif key == "ports":
            main[key] = _merged_ports(before, deep_copy(value))
        elif key == "env":
            main[key] = merged_env(before, deep_copy(value))
        elif key == "resources":
            main[key] = _merged_resources(main.get(key) or {}, value)
        else:
            main[key] = merged({key: main[key]} if key in main else {}, {key: value})[key]


def _merged_resources(base: Obj, own: Obj) -> Obj:
    found = merged(base, own)
    said, requests = own.get("requests") or {}, dict(found.get("requests") or {})
    for resource, most in (own.get("limits") or {}).items():
        asked = requests.get(resource)
        if asked is None or resource in said:
            continue
        if parse_quantity(asked) > parse_quantity(most):
            requests[resource] = most
    return {**found, "requests": requests} if requests else found


def _move_port(main: Obj, port: str) -> None:
    """Has the runtime's own port and the probe of it be where the server is told to listen."""
    if not port.isdecimal() or not main.get("ports"):
        return
    first = main["ports"][0]
    asked = (main.get("readinessProbe") or {}).get("httpGet") or {}
    if asked.get("port") == first["containerPort"]:
        asked["port"] = int(port)
    first["containerPort"] = int(port)


def _merged_ports(base: list[Obj], own: list[Obj]) -> list[Obj]:
    """The runtime's first, as it serves REST; one that the user has, too, is as the user says."""
    said = {port["containerPort"]: port for port in own}
    mine = [said.pop(port["containerPort"], port) for port in base]
    return [*mine, *said.values()]


def merged_env(base: list[Obj], own: list[Obj]) -> list[Obj]:
    """Variables, of which ``own`` win; they stand behind the others, which they may refer to."""
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
