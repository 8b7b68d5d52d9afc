"""Why a client cannot be connected to a pod over anything but a websocket; pure.

A client whose websocket was refused tries its older protocol (SPDY) next, and shows only what that
one is told: so this must be the reason the first one was refused for, where there is one.
"""

from __future__ import annotations

from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["refusal"]


def refusal(pod: Obj, container: str = "") -> BadRequest:
    """What to answer; ``container`` is the one asked for, if any."""
    name, spec, status = pod["metadata"]["name"], pod["spec"], pod.get("status") or {}
    fields = ("containers", "initContainers", "ephemeralContainers")
    names = [c["name"] for field in fields for c in spec.get(field) or ()]
    if container and container not in names:
        listed = f"[{' '.join(names)}]"
        return BadRequest(
            f"container {container} is not valid for pod {name}, choose one of: {listed}"
        )
    for entry in status.get("containerStatuses") or ():
        state = entry.get("state") or {}
        if entry["name"] == (container or names[0]) and "running" not in state:
            return BadRequest(f"container {entry['name']} of pod {name} is not running")
    if (phase := status.get("phase", "Pending")) != "Running":
        return BadRequest(f"pod {name} is not running: its phase is {phase}")
    return BadRequest("unable to upgrade: websocket is the protocol spoken here")
