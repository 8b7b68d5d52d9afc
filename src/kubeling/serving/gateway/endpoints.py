"""The pods that can take a service's requests, by revision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubeling.kube.informer import Informer, Informers
from kubeling.kube.objects import Obj, deletion_requested, labels, name, namespace, uid
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving import names
from kubeling.serving.activator import Activator
from kubeling.serving.gateway.splitting import Endpoint
from kubeling.serving.names import ComponentName
from kubeling.serving.observation import is_pod_ready, revision_of
from kubeling.serving.workloads import entry_component, grpc_port, serving_port

__all__ = ["Endpoints"]


class Endpoints:
    """Finds pods in the cache of the API."""

    def __init__(self, informers: Informers, activator: Activator) -> None:
        self._informers = informers
        self._activator = activator
        self._pods.add_index("service", _service_index)

    @property
    def _pods(self) -> Informer:
        return self._informers.of(PODS)

    def of(self, isvc: Obj, entry: ComponentName | None = None) -> dict[str, list[Endpoint]]:
        """The ready pods of the component asked, filed under the predictor's revision."""
        return {
            names.deployment_name(name(isvc), "predictor", number): [
                endpoint for pod in asked if (endpoint := self._endpoint(isvc, pod))
            ]
            for number, asked in self._asked(isvc, entry)
        }

    def count(self, isvc: Obj, entry: ComponentName | None = None) -> int:
        """All pods of the component asked, be they ready, on their way or about to go."""
        return sum(len(asked) for _, asked in self._asked(isvc, entry))

    def _asked(self, isvc: Obj, entry: ComponentName | None) -> Iterator[tuple[int, Sequence[Obj]]]:
        """The pods of the component asked, by the number of their revision.

        Where a revision is entered is told by its Deployments: a transformer that has no pods for a
        moment must not be passed by.
        """
        deployed: dict[int, set[str]] = {}
        for deployment in self._informers.of(DEPLOYMENTS).owned_by(uid(isvc)):
            parts = deployed.setdefault(revision_of(deployment), set())
            parts.add(labels(deployment).get(names.COMPONENT, ""))
        pods: dict[int, dict[str, list[Obj]]] = {}
        for pod in self._pods.by_index("service", f"{namespace(isvc)}/{name(isvc)}"):
            of_revision = pods.setdefault(revision_of(pod), {})
            of_revision.setdefault(labels(pod).get(names.COMPONENT, ""), []).append(pod)
        for number, components in pods.items():
            yield number, components.get(entry or entry_component(deployed.get(number, ())), ())

    def _endpoint(self, isvc: Obj, pod: Obj) -> Endpoint | None:
        status = pod.get("status") or {}
        address = status.get("podIP")
        if not address or deletion_requested(pod):
            return None
        if not is_pod_ready(pod) and not self._activator.has_answered(pod):
            return None
        host = f"[{address}]" if ":" in address else address
        shared = address in ("127.0.0.1", status.get("hostIP"))
        grpc = grpc_port(isvc, pod, shared=shared)
        restarts = sum(one["restartCount"] for one in status.get("containerStatuses") or ())
        return Endpoint(f"{host}:{serving_port(pod)}", name(pod), f"{host}:{grpc}", restarts)


def _service_index(pod: Obj) -> tuple[str, ...]:
    isvc = labels(pod).get(names.SERVICE)
    return (f"{namespace(pod)}/{isvc}",) if isvc else ()
