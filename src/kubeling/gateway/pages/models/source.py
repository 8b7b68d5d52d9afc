"""What the pages of a served model read: its objects, the gateway's counts, its pods' answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kubeling.gateway.models.signature import Signature, signature_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, is_condition_true, labels, name, namespace
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving.names import COMPONENT, REVISION, SERVICE
from kubeling.serving.workloads import serving_port

__all__ = [
    "ModelObjects",
    "counted",
    "drift_of",
    "from_pod",
    "metrics_of",
    "objects_of",
    "signature_from",
]

_METRICS: Final = "/apis/metrics.k8s.io/v1beta1/namespaces"


@dataclass(frozen=True, slots=True)
class ModelObjects:
    """A service's pods and the Deployments of its predictor's revisions."""

    pods: list[Obj]
    deployments: list[Obj]

    def ready(self, component: str = "predictor") -> list[Obj]:
        """The component's pods that answer, the newest revision's first."""
        found = [
            pod
            for pod in self.pods
            if labels(pod).get(COMPONENT) == component and is_condition_true(pod, "Ready")
        ]
        return sorted(found, key=lambda pod: labels(pod).get(REVISION, ""), reverse=True)


async def objects_of(views: Views, isvc: Obj) -> ModelObjects:
    """From the caches."""
    await views.objects(PODS, DEPLOYMENTS)
    where = namespace(isvc)

    def mine(obj: Obj) -> bool:
        return labels(obj).get(SERVICE) == name(isvc)

    pods = [pod for pod in views.context.informers.of(PODS).list(where) if mine(pod)]
    deployments = [
        deployment
        for deployment in views.context.informers.of(DEPLOYMENTS).list(where)
        if mine(deployment) and labels(deployment).get(COMPONENT) == "predictor"
    ]
    return ModelObjects(pods, deployments)


async def counted(rest: RestClient, isvc: Obj) -> Mapping[str, Any]:
    """What the inference gateway has counted; nothing where there is none."""
    try:
        return await rest.get(f"/api/serving/{namespace(isvc)}/{quote(name(isvc))}/traffic")
    except (Refused, ConnectionError):
        return {}


async def metrics_of(views: Views, isvc: Obj) -> list[Obj]:
    """The PodMetrics of its pods; none where nothing measures them."""
    query = {"labelSelector": f"{SERVICE}={name(isvc)}"}
    try:
        path = f"{_METRICS}/{namespace(isvc)}/pods"
        found = await views.context.client.raw("GET", path, query=query)
    except ApiError:
        return []
    items: list[Obj] = found.get("items") or []
    return items


async def from_pod(rest: RestClient, pod: Obj, path: str) -> Obj | None:
    """What a pod answers, past the inference gateway: looking counts as no request."""
    address = (pod.get("status") or {}).get("podIP")
    found = await rest.of_pod(f"{address}:{serving_port(pod)}", path) if address else None
    return found if isinstance(found, dict) else None


async def signature_from(rest: RestClient, isvc: Obj, found: ModelObjects) -> Signature | None:
    """What the model takes; ``None`` while no pod can say it, or if it does not."""
    for pod in found.ready()[:1]:
        said = await from_pod(rest, pod, f"/v2/models/{quote(name(isvc))}")
        return signature_of(said) if said is not None else None
    return None


async def drift_of(rest: RestClient, isvc: Obj) -> Mapping[str, Any]:
    """What monitoring knows of the service; nothing where that cannot be asked.

    Raises :class:`Refused` where it may not be asked without a token, which the dashboard has not.
    """
    try:
        return await rest.get(f"/api/serving/{namespace(isvc)}/{quote(name(isvc))}/drift")
    except Refused:
        raise
    except ConnectionError:
        return {}
