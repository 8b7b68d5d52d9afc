"""metrics.k8s.io: what pods and the node use, for ``kubectl top`` and autoscalers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.apiserver.node import NodeApi, NodeUsage, PodUsage
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import FreeShape, Served
from kubeling.apiserver.strategy import Strategy
from kubeling.kube import selectors
from kubeling.kube.errors import MethodNotAllowed, NotFound, ServiceUnavailable
from kubeling.kube.objects import Obj, format_time, labels
from kubeling.kube.resources import POD_METRICS, Resource

__all__ = ["UsageHandler", "usage_resources"]

NODE_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False)
_VERBS: Final = ("get", "list")


def usage_resources() -> Iterator[Served]:
    """The resources of the group; nothing of them is stored."""
    for resource in (POD_METRICS, NODE_METRICS):
        yield Served(resource, resource, Strategy(), FreeShape(), verbs=_VERBS)


class UsageHandler:
    """Serves the group from what the node measures."""

    def __init__(self, registry: Registry, node: NodeApi | None) -> None:
        self._registry = registry
        self._node = node

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        if self._node is None:
            raise ServiceUnavailable("no node runs here: nothing is measured")
        if request.query.get("watch") in ("1", "true"):
            raise MethodNotAllowed("usage cannot be watched: ask again")
        resource = served.resource
        if resource == POD_METRICS:
            found = [self._pod(use) for use in await self._node.pod_usage(target.namespace)]
        else:
            found = [_node(await self._node.node_usage())]
        if target.name:
            for item in found:
                if item["metadata"]["name"] == target.name:
                    return ObjectAnswer(item)
            raise NotFound.of(resource.group, resource.kind, target.name)
        selected = _select(found, request.query.get("labelSelector", ""))
        return ObjectAnswer(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": {},
                "items": selected,
            }
        )

    def _pod(self, use: PodUsage) -> Obj:
        record = self._registry.store.get(StoreKey("/pods", use.namespace, use.name))
        metadata: Obj = {"name": use.name, "namespace": use.namespace}
        metadata["creationTimestamp"] = format_time(use.timestamp)
        if record is not None and labels(record.obj):
            metadata["labels"] = labels(record.obj)
        return {
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": metadata,
            "timestamp": format_time(use.timestamp),
            "window": f"{use.window:.3f}s",
            "containers": [
                {"name": container.name, "usage": _usage(container.cpu, container.memory)}
                for container in use.containers
            ],
        }


def _node(use: NodeUsage) -> Obj:
    return {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": use.name, "creationTimestamp": format_time(use.timestamp)},
        "timestamp": format_time(use.timestamp),
        "window": f"{use.window:.3f}s",
        "usage": _usage(use.cpu, use.memory),
    }


def _usage(cpu: float, memory: int) -> Obj:
    return {"cpu": f"{math.ceil(cpu * 1e9)}n", "memory": f"{memory // 1024}Ki"}


def _select(items: Iterable[Obj], text: str) -> list[Obj]:
    selector = selectors.parse(text)
    return [item for item in items if selector.matches(labels(item))]
