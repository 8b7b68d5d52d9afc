"""What a service gets that says nothing of its container.

Upstream ships configurations (config/llmisvcconfig), of which ``kserve-config-llm-template`` is a
vLLM image for CUDA. Here the same name is a server of transformers on the CPU. A container with an
image of one's own is started as upstream starts any: ``vllm serve``, unless it has a command. A
configuration of that name in the service's namespace, or in ``kserve``, replaces what is built in.
"""

from __future__ import annotations

import math
import shlex
from typing import Final

from kubeling.kube.objects import Obj, mappings
from kubeling.kube.quantities import parse_quantity
from kubeling.serving.llm.tracing import traced

__all__ = ["MAIN", "PORT", "SYSTEM_NAMESPACE", "TEMPLATE", "WELL_KNOWN", "complete", "needed"]

MAIN: Final = "main"
PORT: Final = 8000
SYSTEM_NAMESPACE: Final = "kserve"
TEMPLATE: Final = "kserve-config-llm-template"
_PREFILL: Final = "kserve-config-llm-prefill-template"
_DECODE: Final = "kserve-config-llm-decode-template"
_SCHEDULER: Final = "kserve-config-llm-scheduler"
_ROUTE: Final = "kserve-config-llm-router-route"
_TRACING: Final = "kserve-config-llm-tracing"
WELL_KNOWN: Final = frozenset(
    {
        TEMPLATE,
        _PREFILL,
        _DECODE,
        _SCHEDULER,
        _ROUTE,
        _TRACING,
        "kserve-config-llm-worker-data-parallel",
        "kserve-config-llm-decode-worker-data-parallel",
        "kserve-config-llm-prefill-worker-data-parallel",
        "kserve-config-llm-scheduler-latency-predictor",
        "kserve-config-llm-tokenizer",
    }
)
"""Upstream's names of all that a service may begin with."""
_IMAGE: Final = "kubeling/model-server:huggingface"
_MODELS: Final = "/mnt/models"


def needed(spec: Obj) -> list[str]:
    """Upstream's names of the configurations that a service of this kind begins with."""
    router = spec.get("router") or {}
    found = []
    scheduler = router.get("scheduler")
    if scheduler is not None and not (scheduler.get("pool") or {}).get("ref"):
        found.append(_SCHEDULER)
    route = router.get("route")
    if route is not None and not (route.get("http") or {}).get("refs"):
        found.append(_ROUTE)
    if spec.get("tracing") is not None:
        found.append(_TRACING)
    if spec.get("prefill") is not None:
        return [*found, _PREFILL, _DECODE]
    return [*found, TEMPLATE]


def complete(spec: Obj, namespace: str, service_name: str) -> Obj:
    """A merged spec whose main container can be started."""
    template = dict(spec.get("template") or {})
    containers = mappings(template.get("containers"))
    main = next((c for c in containers if c.get("name") == MAIN), None) or {"name": MAIN}
    others = [c for c in containers if c.get("name") != MAIN]
    name = (spec.get("model") or {}).get("name") or service_name
    own = bool(main.get("image"))
    made = _with_own_image(main, name) if own else _built_in(main, name)
    made = traced(made, spec.get("tracing"), namespace, service_name, flags=own)
    return {**spec, "template": {**template, "containers": [made, *others]}}


def _built_in(main: Obj, name: str) -> Obj:
    """Our server. What a container adds for vLLM are flags; it says in its log which it knows."""
    added = next((v.get("value") for v in _env(main) if v["name"] == "VLLM_ADDITIONAL_ARGS"), "")
    arguments = [
        f"--model_name={name}",
        f"--model_dir={_MODELS}",
        "--format=huggingface",
        f"--http_port={PORT}",
        "--enable_grpc=false",
        *shlex.split(added or ""),
        *(main.get("args") or ()),
    ]
    return {
        **_with_threads(_with_probes(main, "/v2/health/ready")),
        "image": _IMAGE,
        "command": main.get("command") or ["python", "-m", "kubeling.serving.server"],
        "args": arguments,
    }


def _with_threads(main: Obj) -> Obj:
    """As many threads as the container may use processors, if it says so."""
    limit = ((main.get("resources") or {}).get("limits") or {}).get("cpu")
    if limit is None or any(variable["name"] == "NTHREAD" for variable in _env(main)):
        return main
    threads = str(max(1, math.ceil(parse_quantity(limit))))
    return {**main, "env": [*_env(main), {"name": "NTHREAD", "value": threads}]}


def _with_own_image(main: Obj, name: str) -> Obj:
    found = _with_probes(main, "/health")
    if not main.get("command"):
        served = f"exec vllm serve {_MODELS} --served-model-name {shlex.quote(name)}"
        script = f"{served} --port {PORT} ${{VLLM_ADDITIONAL_ARGS}} $@"
        found["command"] = ["/bin/bash", "-c", script, "--"]
    return found


def _with_probes(main: Obj, path: str) -> Obj:
    found = dict(main)
    found.setdefault("ports", [{"containerPort": PORT, "protocol": "TCP"}])
    port = found["ports"][0]["containerPort"]
    probe = {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 3}
    found.setdefault("readinessProbe", probe)
    if not _handlers(found["readinessProbe"]):
        found["readinessProbe"] = {**probe, **found["readinessProbe"]}
    if (liveness := found.get("livenessProbe")) is not None and not _handlers(liveness):
        # Upstream's preset has one, of which a service changes the times.
        found["livenessProbe"] = {**liveness, "httpGet": {"path": path, "port": port}}
    found.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return found


def _handlers(probe: Obj) -> bool:
    return any(probe.get(key) for key in ("httpGet", "exec", "tcpSocket", "grpc"))


def _env(container: Obj) -> list[Obj]:
    return mappings(container.get("env"))
