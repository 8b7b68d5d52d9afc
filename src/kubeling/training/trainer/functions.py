"""Functions that the SDK sends: their source travels in the command and becomes a file.

The SDK writes it where the container begins, under the name of the file it came from. Pods may
begin in a folder that they share, with one another or with their user: there two nodes, or two
trials, would write over each other's function, or over the file it was taken from.
"""

from __future__ import annotations

import re
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.training.trainer.template import NODE, containers, pod_spec

__all__ = ["seclude"]

_WRITTEN: Final = re.compile(r'printf "%s" "\$SCRIPT" > "(?!/)')
"""The end of the SDK's ``EXEC_FUNC_SCRIPT``, with a name that is no path."""

_VOLUME: Final = "function"
_FOLDER: Final = "/var/run/function"


def seclude(group: Obj) -> None:
    """Lets containers that write a function down begin in a folder of their pod's own."""
    pod = pod_spec(group)
    for container in containers(group, NODE):
        words = (*(container.get("command") or ()), *(container.get("args") or ()))
        if container.get("workingDir") or not any(_WRITTEN.search(word) for word in words):
            continue
        container["workingDir"] = _FOLDER
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"name": _VOLUME, "mountPath": _FOLDER})
        pod.setdefault("volumes", []).append({"name": _VOLUME, "emptyDir": {}})
