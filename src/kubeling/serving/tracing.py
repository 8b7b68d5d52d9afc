"""Traces of a service: ``spec.tracing``, and the variables that its containers get of it.

Source: KServe's API since September 2026 (pull requests 6108, 6172 and 6214): ``tracing: {}`` is
filled with the defaults below, and becomes OpenTelemetry's variables of the predictor, transformer
and explainer. A variable that the container or the runtime has stays as it is. Of a service that
does not say, the platform's own settings count; they make no revision of their own.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from kubeling.component import Settings
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, name, namespace
from kubeling.monitoring.tracing.sampling import SAMPLERS
from kubeling.serving.settings import ServingSettings

__all__ = [
    "DEFAULTS",
    "Tracing",
    "add_of_platform",
    "default_tracing",
    "gateway_variables",
    "pod_variables",
    "tracing_errors",
    "variables_of",
]

DEFAULTS: Final[Mapping[str, str]] = {
    "exporterEndpoint": "http://otel-collector:4317",
    "sampler": "parentbased_traceidratio",
    "samplerArg": "0.05",
    "exporter": "otlp",
}
"""What tracing is without a word of one's own."""
_VARIABLES: Final = {
    "exporterEndpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "exporter": "OTEL_TRACES_EXPORTER",
    "sampler": "OTEL_TRACES_SAMPLER",
    "samplerArg": "OTEL_TRACES_SAMPLER_ARG",
}
_EXPORTERS: Final = frozenset({"otlp", "console", "none"})
_HANDED_ON: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_SDK_DISABLED",
)
"""Not headers: they may hold a key, which is nothing for every namespace."""
_OWN_WORD: Final = frozenset(_HANDED_ON) - {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST_IP: Final = "OTEL_EXPORTER_HOST_IP"
_NODE: Final = "OTEL_RESOURCE_ATTRIBUTES_NODE_NAME"
_POD: Final = "OTEL_RESOURCE_ATTRIBUTES_POD_NAME"


class Tracing(msgspec.Struct, rename="camel", omit_defaults=True):
    """Where traces go; ``{}`` is the usual collector."""

    exporter_endpoint: str | None = None
    sampler: str | None = None
    sampler_arg: str | None = None
    exporter: str | None = None


def default_tracing(spec: Obj) -> None:
    """Fills in what a service that is to be traced does not say."""
    if isinstance(found := spec.get("tracing"), dict):
        spec["tracing"] = {**DEFAULTS, **{k: v for k, v in found.items() if v is not None}}


def tracing_errors(spec: Obj) -> Iterator[FieldError]:
    """Names what is wrong with it."""
    found = spec.get("tracing") or {}
    if (sampler := found.get("sampler")) is not None and sampler not in SAMPLERS:
        supported = f"supported: {', '.join(SAMPLERS)}"
        yield FieldError("spec.tracing.sampler", "Unsupported value", supported, sampler)
    given = str(found.get("exporter") or "otlp")
    if unknown := {part.strip() for part in given.split(",")} - _EXPORTERS:
        supported = f"{', '.join(sorted(unknown))}: supported: {', '.join(sorted(_EXPORTERS))}"
        yield FieldError("spec.tracing.exporter", "Unsupported value", supported, given)
    endpoint = found.get("exporterEndpoint")
    if endpoint is not None and not _is_url(str(endpoint)):
        text = "must be a whole address that begins with http:// or https://"
        yield FieldError("spec.tracing.exporterEndpoint", "Invalid value", text, endpoint)


def variables_of(tracing: Obj, service: str, where: str, title: str) -> list[Obj]:
    """The variables of a container; ``title`` is how its resource attribute is called."""
    said = {_VARIABLES[key]: str(value) for key, value in tracing.items() if key in _VARIABLES}
    return [*_plain(said), *_identity(service, where, title)]


def pod_variables(isvc: Obj, component: str) -> list[Obj]:
    """Those of a service's container, by its own ``spec.tracing``."""
    tracing = isvc["spec"].get("tracing")
    if tracing is None:
        return []
    return variables_of(
        tracing, f"{name(isvc)}-{component}", namespace(isvc), f"isvc.name={name(isvc)}"
    )


def add_of_platform(isvc: Obj, component: str, pod: Obj, variables: Mapping[str, str]) -> None:
    """Adds the platform's, where neither the service nor a container says anything of its own."""
    handed_on = {key: variables[key] for key in _HANDED_ON if variables.get(key)}
    if not handed_on.keys() & _OWN_WORD or isvc["spec"].get("tracing") is not None:
        return
    for container in pod["containers"]:
        env = container.setdefault("env", [])
        own = {variable["name"] for variable in env}
        if own & _OWN_WORD:
            continue
        title = f"isvc.name={name(isvc)}"
        added = [
            {"name": _HOST_IP, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            *_plain({key: _from_pods(value) for key, value in handed_on.items()}),
            *_identity(f"{name(isvc)}-{component}", namespace(isvc), title),
        ]
        env += [variable for variable in added if variable["name"] not in own]


def gateway_variables(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables that the inference gateway's traces go by: its process's come first."""
    set_ = ServingSettings.of(settings).tracing
    said = set_.variables() if set_ is not None else {}
    return {**said, **{k: v for k, v in environment.items() if k.startswith("OTEL_")}}


def _plain(variables: Mapping[str, str]) -> list[Obj]:
    return [{"name": key, "value": value} for key, value in variables.items()]


def _identity(service: str, where: str, title: str) -> list[Obj]:
    """Whose spans they are."""
    pod, node = f"k8s.pod.name=$({_POD})", f"k8s.node.name=$({_NODE})"
    return [
        {"name": "OTEL_SERVICE_NAME", "value": service},
        {"name": _NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": _POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {
            "name": "OTEL_RESOURCE_ATTRIBUTES",
            "value": ",".join((f"k8s.namespace.name={where}", node, pod, title)),
        },
    ]


def _from_pods(value: str) -> str:
    """An address of this machine as pods reach it: their own network has another localhost."""
    url = urllib.parse.urlsplit(value)
    if url.hostname not in _LOCAL:
        return value
    port = f":{url.port}" if url.port else ""
    return url._replace(netloc=f"$({_HOST_IP}){port}").geturl()


def _is_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname)
    except ValueError:
        return False
