"""What ``spec.tracing`` gives the server of an LLM service, as OpenTelemetry's variables.

Source: pkg/controller/v1alpha2/llmisvc/tracing.go, with the values of upstream's configuration
``kserve-config-llm-tracing`` where the spec says nothing. Our server reads the variables as vLLM's
image does, which is given its two flags as well.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj
from kubeling.serving.tracing import DEFAULTS, variables_of

__all__ = ["traced"]

_SERVICE: Final = "inference-server-decode"


def traced(main: Obj, tracing: Obj | None, namespace: str, service: str, *, flags: bool) -> Obj:
    """The main container, with what makes it trace; the container's own variables stay."""
    if tracing is None:
        return main
    told = {**DEFAULTS, **tracing}
    own = list(main.get("env") or ())
    known = {variable["name"] for variable in own}
    added = variables_of(told, _SERVICE, namespace, f"llmisvc.name={service}")
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
