"""What ``spec.tracing`` gives the server of an LLM service, as OpenTelemetry's variables.

Source: pkg/controller/v1alpha2/llmisvc/tracing.go, with the values of upstream's configuration
``kserve-config-llm-tracing`` where the spec says nothing. Our server reads the variables as vLLM's
image does, which is given its two flags as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.kube.objects import Obj

__all__ = ["TRACING", "traced"]

TRACING: Final[Mapping[str, str]] = {
    "exporterEndpoint": "http://otel-collector:4317",
    "sampler": "parentbased_traceidratio",
    "samplerArg": "0.05",
    "exporter": "otlp",
}
"""What tracing is without a word of one's own."""

_VARIABLES: Final = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "exporterEndpoint",
    "OTEL_TRACES_EXPORTER": "exporter",
    "OTEL_TRACES_SAMPLER": "sampler",
    "OTEL_TRACES_SAMPLER_ARG": "samplerArg",
}
_SERVICE: Final = "inference-server-decode"
_FIELDS: Final = {"NODE": "spec.nodeName", "POD": "metadata.name"}


def traced(main: Obj, tracing: Obj | None, namespace: str, service: str, *, flags: bool) -> Obj:
    """The main container, with what makes it trace; the container's own variables stay."""
    if tracing is None:
        return main
    told = {**TRACING, **tracing}
    added: list[Obj] = [
        {"name": "OTEL_SERVICE_NAME", "value": _SERVICE},
        *({"name": name, "value": told[field]} for name, field in _VARIABLES.items()),
    ]
    for kind, path in _FIELDS.items():
        source = {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}
        added.append({"name": f"OTEL_RESOURCE_ATTRIBUTES_{kind}_NAME", "valueFrom": source})
    attributes = {
        "k8s.namespace.name": namespace,
        "k8s.node.name": "$(OTEL_RESOURCE_ATTRIBUTES_NODE_NAME)",
        "k8s.pod.name": "$(OTEL_RESOURCE_ATTRIBUTES_POD_NAME)",
        "llmisvc.name": service,
    }
    text = ",".join(f"{key}={value}" for key, value in attributes.items())
    added.append({"name": "OTEL_RESOURCE_ATTRIBUTES", "value": text})
    own = list(main.get("env") or ())
    known = {variable["name"] for variable in own}
    found = {**main, "env": [*own, *(v for v in added if v["name"] not in known)]}
    if flags:
        found["args"] = _with_flags(list(main.get("args") or ()), told["exporterEndpoint"])
    return found


def _with_flags(given: list[str], endpoint: str) -> list[str]:
    wanted = {"--otlp-traces-endpoint": endpoint, "--collect-detailed-traces": "all"}
    known = {argument.partition("=")[0] for argument in given}
    return given + [
        part for flag, value in wanted.items() if flag not in known for part in (flag, value)
    ]
