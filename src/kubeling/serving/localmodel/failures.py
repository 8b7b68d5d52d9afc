"""Why a model could not be brought to a node: what its pods there said at their end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubeling.kube.objects import Obj, labels, name, namespace
from kubeling.serving.localmodel.plan import (
    JOB_NAMESPACE,
    MODEL_LABEL,
    MODEL_NAMESPACE_LABEL,
    NODE_LABEL,
)

__all__ = ["failed_nodes", "failure_of"]

_FAILED: Final = "NodeDownloadError"


def failed_nodes(cache: Obj) -> list[str]:
    """The nodes that a cache's model could not be brought to."""
    nodes = (cache.get("status") or {}).get("nodeStatus") or {}
    return sorted(node for node, status in nodes.items() if status == _FAILED)


def failure_of(cache: Obj, node: str, pods: Iterable[Obj]) -> str:
    """The last line of the newest pod that failed, or where to look if none is there."""
    wanted = {
        MODEL_LABEL: name(cache),
        NODE_LABEL: node,
        MODEL_NAMESPACE_LABEL: namespace(cache) or None,
    }
    mine = [
        pod
        for pod in pods
        if namespace(pod) == JOB_NAMESPACE
        and all(labels(pod).get(label) == value for label, value in wanted.items())
    ]
    for pod in sorted(mine, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True):
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode"):
                lines = [*filter(str.strip, str(ended.get("message") or "").splitlines())]
                return lines[-1] if lines else str(ended.get("reason") or "")
    return f"it could not be fetched; kubectl describe localmodelnode {node}"
