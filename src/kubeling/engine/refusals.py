"""What pods can ask for that this node does not have: refused at the start, or told in an Event.

Everything else that a pod can say is honoured where it is read; nothing is left out in silence.
"""

from __future__ import annotations

from typing import Final

from kubeling.engine.podspec import init_containers, main_containers, spec
from kubeling.kube.objects import Obj

__all__ = ["not_honoured", "refusal"]

_OS: Final = "linux"


def refusal(pod: Obj) -> tuple[str, str] | None:
    """Why a pod can never start here, as reason and message."""
    wanted = spec(pod)
    if wanted.get("resourceClaims"):
        text = "resourceClaims: this node has no dynamic resource allocation; "
        return "CreateContainerConfigError", f"{text}use extended resources such as nvidia.com/gpu"
    if (system := (wanted.get("os") or {}).get("name")) not in (None, _OS):
        text = f"Failed to admit pod as the OS field ({system}) doesn't match node OS ({_OS})"
        return "PodOSNotSupported", text
    return None


def not_honoured(pod: Obj, *, own_network: bool) -> list[str]:
    """What has no effect here, in words for an Event."""
    wanted, found = spec(pod), []
    if name := wanted.get("runtimeClassName"):
        found.append(f"runtimeClassName {name} is not used: containers are processes here")
    ports = [
        str(port["hostPort"])
        for container in (*init_containers(pod), *main_containers(pod))
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    if ports and own_network:
        listed = ", ".join(ports)
        found.append(
            f"hostPort {listed} does not lead into the pod: use a Service of type NodePort"
        )
    if (wanted.get("resources") or {}).get("limits"):
        found.append("the pod's own limits hold for each container by itself, not for their sum")
    return found
