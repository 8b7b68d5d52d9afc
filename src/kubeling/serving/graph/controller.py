"""Says of InferenceGraphs whether they can answer, and where.

The graph itself runs in the inference gateway; there is nothing to be made for it but its name
within the cluster, which leads there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deep_copy,
    deletion_requested,
    generation,
    is_condition_true,
    key_of,
    name,
    namespace,
    new_object,
    set_condition,
)
from kubeling.kube.resources import SERVICES
from kubeling.serving import names
from kubeling.serving.dependents import Dependents
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["InferenceGraphController", "steps_of"]


class InferenceGraphController:
    """Reconciles InferenceGraphs."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._settings = context.settings
        self._clock = context.clock
        self._recorder = context.recorder("inferencegraph-controller")
        self._dependents = Dependents(context.client, context.informers, self._recorder)

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "inferencegraph",
            INFERENCE_GRAPHS,
            self.reconcile,
            owns=(SERVICES,),
            watches={INFERENCE_SERVICES: self._graphs_of, SERVICES: self._when_gateway_changes},
        )

    async def reconcile(self, key: Key) -> None:
        """Writes a graph's status, and its Service."""
        graph = self._informers.of(INFERENCE_GRAPHS).get(*key)
        if graph is None or deletion_requested(graph):
            return
        where, title = names.GATEWAY
        gateway = f"{title}.{where}.svc.{self._settings.cluster_domain}"
        spec = {"type": "ExternalName", "externalName": gateway}
        service = new_object(SERVICES, name(graph), namespace(graph), owner=graph, spec=spec)
        await self._dependents.ensure(SERVICES, graph, service)
        await self._write(graph, self._status(graph))

    def _status(self, graph: Obj) -> Obj:
        status: Obj = deep_copy(graph.get("status") or {})
        status["observedGeneration"] = generation(graph)
        status["url"] = f"http://{names.host_names(graph, self._settings)[0]}"
        status["deploymentMode"] = names.STANDARD
        reason, message = next(self._obstacles(graph), ("", ""))
        ready = not reason
        set_condition(status, "Ready", ready, reason=reason, message=message, now=self._clock.now())
        return status

    def _obstacles(self, graph: Obj) -> Iterator[tuple[str, str]]:
        """Why the graph cannot answer every request."""
        if self._informers.of(SERVICES).get(*names.GATEWAY) is None:
            yield (
                "NoGateway",
                f"there is no Service {'/'.join(names.GATEWAY)} that would run graphs",
            )
        service = self._informers.of(SERVICES).get(namespace(graph), name(graph))
        if service is not None and not objects.is_owned_by(service, graph):
            yield "NameTaken", f"Service {name(graph)} is another's; give the graph another name"
        for path, step in steps_of(graph):
            title = step.get("serviceName")
            if not title:
                continue
            isvc = self._informers.of(INFERENCE_SERVICES).get(namespace(graph), title)
            if isvc is None:
                yield "ServiceNotFound", f'{path}.serviceName: no InferenceService "{title}"'
            elif not is_condition_true(isvc, "Ready"):
                ready = condition(isvc, "Ready")
                said = f": {ready.message}" if ready is not None and ready.message else ""
                yield "ServiceNotReady", f"{path}.serviceName: {title} is not ready{said}"

    async def _write(self, graph: Obj, status: Obj) -> None:
        if status == graph.get("status"):
            return
        try:
            await self._client.replace_status(INFERENCE_GRAPHS, {**graph, "status": status})
        except NotFound:
            return
        now, before = is_condition_true({"status": status}, "Ready"), condition(graph, "Ready")
        if now and not is_condition_true(graph, "Ready"):
            await self._recorder.event(
                graph, "Normal", "InferenceGraphReady", f"InferenceGraph [{name(graph)}] is Ready"
            )
        elif not now and before is not None and before.status == "True":
            found = condition({"status": status}, "Ready")
            said = found.message if found else ""
            await self._recorder.event(graph, "Warning", "InferenceGraphNotReady", said)

    def _when_gateway_changes(self, service: Obj) -> Iterable[Key]:
        is_gateway = (namespace(service), name(service)) == names.GATEWAY
        return map(key_of, self._informers.of(INFERENCE_GRAPHS).list()) if is_gateway else ()

    def _graphs_of(self, isvc: Obj) -> Iterable[Key]:
        for graph in self._informers.of(INFERENCE_GRAPHS).list(namespace(isvc)):
            if any(step.get("serviceName") == name(isvc) for _, step in steps_of(graph)):
                yield key_of(graph)


def steps_of(graph: Obj) -> Iterator[tuple[str, Obj]]:
    """Every step of a graph, with its path."""
    for title, node in objects.mapping(graph["spec"].get("nodes")).items():
        for index, step in enumerate(node.get("steps") or ()):
            yield f"spec.nodes.{title}.steps[{index}]", step
