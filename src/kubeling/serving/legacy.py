"""The old group, ``serving.kubeflow.org``: served beside the current one.

An object of the old group is mirrored into one of the current group that it owns, and the status
comes back. Upstream's own migration is a dump, a search-and-replace and a re-apply; here both names
work at once, and an autoscaler or a script written for the old one keeps working.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, labels, name, namespace, new_object
from kubeling.serving.resources import FRAMEWORKS, INFERENCE_SERVICES

__all__ = [
    "ENDPOINTS",
    "convert",
    "convert_spec",
    "endpoint_specs",
    "name_custom_container",
    "original_path",
]

ENDPOINTS: Final = ("default", "canary")
"""The two models of a v1alpha2 service."""


_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def convert(obj: Obj, *, canary: bool = False) -> Obj:
    """The object of the current group that serves what ``obj`` describes.

    Of a v1alpha2 service that is the default, or with ``canary`` the canary with its percentage:
    the default has to be rolled out before there is anything to share with.
    """
    kept = {key: value for key, value in objects.annotations(obj).items() if key != _APPLIED}
    return new_object(
        INFERENCE_SERVICES,
        name(obj),
        namespace(obj),
        labels=labels(obj),
        annotations=kept,
        owner=obj,
        spec=_current_spec(obj["spec"], canary=canary),
    )


def _current_spec(spec: Obj, *, canary: bool) -> Obj:
    endpoints = endpoint_specs(spec)
    if not endpoints:
        found: Obj = convert_spec(spec)
        return found
    converted: Obj = convert_spec(endpoints["canary" if canary else "default"])
    if canary:
        percent = spec.get("canaryTrafficPercent") or 0
        converted["predictor"]["canaryTrafficPercent"] = percent
    return converted


def endpoint_specs(spec: Any) -> dict[str, Any]:
    """What a v1alpha2 service has under ``default`` and ``canary``; nothing of v1beta1."""
    found = spec if isinstance(spec, dict) else {}
    return {title: found[title] for title in ENDPOINTS if found.get(title) is not None}


def convert_spec(spec: Any) -> Any:
    """``custom.container`` becomes ``containers``; ``parallelism`` ``containerConcurrency``."""
    if not isinstance(spec, dict):
        return spec
    converted = deep_copy(spec)
    for component in converted.values():
        if isinstance(component, dict):
            _convert_component(component)
    return converted


def _convert_component(component: Obj) -> None:
    custom = component.pop("custom", None)
    if isinstance(custom, dict) and isinstance(custom.get("container"), dict):
        container = {"name": "kserve-container", **custom["container"]}
        component["containers"] = [container, *(component.get("containers") or ())]
    if "parallelism" in component:
        component.setdefault("containerConcurrency", component.pop("parallelism"))
    for framework in FRAMEWORKS:
        content = component.get(framework)
        if isinstance(content, dict):
            content.pop("name", None)


def name_custom_container(component: Obj) -> None:
    """Gives ``custom.container`` the name that the schema of a container requires."""
    custom = component.get("custom")
    if isinstance(custom, dict) and isinstance(custom.get("container"), dict):
        custom["container"].setdefault("name", "kserve-container")


def original_path(path: str, spec: Any) -> str:
    """The path in the object as written of a path in the converted one."""
    for component, content in (spec or {}).items() if isinstance(spec, dict) else ():
        if not isinstance(content, dict):
            continue
        prefix = f"spec.{component}"
        if content.get("custom") is not None:
            path = path.replace(f"{prefix}.containers[0]", f"{prefix}.custom.container", 1)
        for framework in FRAMEWORKS:
            if content.get(framework) is not None:
                path = path.replace(f"{prefix}.model", f"{prefix}.{framework}", 1)
    return path
