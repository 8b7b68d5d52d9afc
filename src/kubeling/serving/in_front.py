"""What a component does with requests besides answering them: record, merge, sample.

The built-in servers do it themselves and are told so by flags. In front of any other container
stands an agent, as upstream's does: it takes the component's port and passes requests on.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, name, namespace
from kubeling.serving.credentials import Access
from kubeling.serving.mounts import entry_container, main_container
from kubeling.serving.names import AGENT_PORT, AGENT_PORT_NAME, PORT, ComponentName
from kubeling.serving.recording import (
    add_log_volume,
    arguments_of,
    log_access,
    log_of,
    logger_of,
)
from kubeling.serving.tracing import pod_variables
from kubeling.serving.watching.settings import has_monitor, is_monitored

__all__ = ["add_in_front", "has_http"]

_SERVERS: Final = ("kubeling.serving.server", "kubeling.serving.multimodel")
_OTHER_PROTOCOLS: Final = ("h2c", "grpc", "http2")


def add_in_front(
    isvc: Obj, component: ComponentName, pod: Obj, recording: Access | None = None
) -> None:
    """Tells the server, or puts an agent in front of it, if there is anything to do.

    ``recording`` is the way to the log's store.
    """
    content = isvc["spec"][component]
    entry, command = entry_container(pod), main_container(pod).get("command") or ()
    built_in = entry is main_container(pod) and any(server in command for server in _SERVERS)
    monitor = component == "transformer" and has_monitor(isvc)
    logger = logger_of(isvc, content, built_in=built_in)
    sampled = component == "predictor" and is_monitored(isvc) and not has_monitor(isvc)
    arguments: list[str] = []
    if logger is not None:
        arguments += arguments_of(log_of(isvc, logger))
    if (batcher := content.get("batcher")) is not None:
        arguments += _batching(batcher)
    if sampled and "kubeling.serving.multimodel" not in command:
        arguments.append("--monitor=true")
    if not arguments:
        return
    if not (built_in or monitor or has_http(entry)):
        # A runtime whose container speaks gRPC: it would not be understood behind an agent.
        return
    told = entry if built_in or monitor else _agent(isvc, component, pod)
    told["args"] = [*(told.get("args") or ()), *arguments]
    if logger is not None:
        add_log_volume(logger, pod, told)
        log_access(recording or Access(), pod, told)


def has_http(container: Obj) -> bool:
    """Whether a container's first port speaks HTTP/1, so that an agent can stand in front."""
    ports = container.get("ports") or [{}]
    title = str(ports[0].get("name") or "")
    return not title.startswith(_OTHER_PROTOCOLS)


def _batching(batcher: Obj) -> list[str]:
    return [
        f"--{flag}={batcher.get(key) or usual}"
        for flag, key, usual in (
            ("max_batch_size", "maxBatchSize", 32),
            ("max_latency", "maxLatency", 5000),
            ("batch_timeout", "timeout", 600),
        )
    ]


def _agent(isvc: Obj, component: ComponentName, pod: Obj) -> Obj:
    ports = entry_container(pod).get("ports") or [{"containerPort": PORT}]
    port = ports[0]["containerPort"]
    # What the agent watches is the model's, which is mounted into the server.
    mounts = [m for m in main_container(pod).get("volumeMounts") or () if _is_model(m)]
    agent: dict[str, Any] = {
        "name": "request-agent",
        "image": "kubeling/agent",
        "command": ["python", "-m", "kubeling.serving.agent"],
        "args": [f"--target=http://$(POD_IP):{port}", f"--port={AGENT_PORT}"],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "INFERENCE_SERVICE_NAME", "value": name(isvc)},
            {"name": "SERVING_COMPONENT", "value": component},
            {"name": "POD_NAMESPACE", "value": namespace(isvc)},
            *pod_variables(isvc, component),
        ],
        "ports": [{"name": AGENT_PORT_NAME, "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": AGENT_PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }
    if mounts:
        agent["volumeMounts"] = mounts
    pod["containers"].append(agent)
    return agent


def _is_model(mount: Obj) -> bool:
    return str(mount.get("mountPath", "")) == "/mnt/models"
