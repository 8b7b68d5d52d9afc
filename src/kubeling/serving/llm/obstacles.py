"""What a service asks for that only clusters of GPUs have, in words of its conditions.

Such a service is accepted, as the same manifest may run elsewhere, and says why it does not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, mapping

__all__ = ["NOT_SUPPORTED", "Obstacle", "obstacles", "warnings_of"]

NOT_SUPPORTED: Final = "NotSupported"
_ELSEWHERE: Final = "needs vLLM on nodes with GPUs, which this platform does not run"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A condition that cannot come true, and why. Some keep the workload from being made."""

    condition: str
    message: str
    stops: bool = True


def obstacles(spec: Obj) -> Iterator[Obstacle]:
    """All that stands in a merged spec's way, the most telling first."""
    if spec.get("prefill") is not None:
        text = f"spec.prefill: {_ELSEWHERE}; leave it out to answer from one workload"
        yield Obstacle("PrefillWorkloadReady", text)
    if spec.get("worker") is not None:
        text = f"spec.worker: a model over several nodes {_ELSEWHERE}; leave it out"
        yield Obstacle("WorkerWorkloadReady", text)
    yield from _of_parallelism(mapping(spec.get("parallelism")))
    if mapping(mapping(spec.get("model")).get("lora")).get("adapters"):
        text = "spec.model.lora.adapters: are not loaded here; serve a model they are merged into"
        yield Obstacle("MainWorkloadReady", text)
    if mapping(mapping(spec.get("model")).get("confidential")).get("enabled"):
        text = "spec.model.confidential: there is no key broker here; serve a plain model"
        yield Obstacle("MainWorkloadReady", text)
    if spec.get("scaling") is not None:
        text = (
            "spec.scaling: there is neither WVA nor KEDA here, so there are minReplicas pods; "
            "set spec.replicas instead"
        )
        yield Obstacle("ScalingReady", text, stops=False)
    yield from _of_router(mapping(spec.get("router")))


def warnings_of(llm: Obj, request: AdmissionRequest) -> list[str]:
    """What kubectl is told of a service's own fields at apply: what stands in the way of it, and
    what changes nothing here."""
    spec = mapping(llm.get("spec"))
    return [
        *(obstacle.message for obstacle in obstacles(spec)),
        *(f"{path}: has no effect: {why}" for path, why in _without_effect(spec)),
    ]


def _without_effect(spec: Obj) -> Iterator[tuple[str, str]]:
    model, scheduler = mapping(spec.get("model")), mapping(spec.get("router")).get("scheduler")
    if model.get("criticality"):
        yield "spec.model.criticality", "requests are taken as they come"
    adapters = mapping(model.get("lora"))
    for key in ("maxRank", "maxAdapters", "maxCpuAdapters"):
        if adapters.get(key):
            yield f"spec.model.lora.{key}", "no adapters are loaded here"
    if spec.get("kvCacheOffloading") is not None:
        yield (
            "spec.kvCacheOffloading",
            "the server keeps what it knows of texts in memory, as --kv_cache_memory_bytes says",
        )
    if mapping(spec.get("parallelism")).get("dataRPCPort"):
        yield "spec.parallelism.dataRPCPort", "the model is in one process"
    for key in ("replicas", "labels", "annotations"):
        if mapping(scheduler).get(key):
            yield f"spec.router.scheduler.{key}", "the gateway schedules, which has no pods for it"


def _of_parallelism(parallelism: Obj) -> Iterator[Obstacle]:
    several = [
        f"{key} {parallelism[key]}"
        for key in ("tensor", "pipeline", "data", "dataLocal")
        if (parallelism.get(key) or 1) > 1
    ]
    if parallelism.get("expert"):
        several.append("expert")
    if several:
        text = f"spec.parallelism: {', '.join(several)} {_ELSEWHERE}; leave it out"
        yield Obstacle("MainWorkloadReady", text)


def _of_router(router: Obj) -> Iterator[Obstacle]:
    if mapping(router.get("gateway")).get("refs"):
        text = (
            "spec.router.gateway.refs: requests come through the platform's own gateway; "
            "leave refs out"
        )
        yield Obstacle("GatewaysReady", text, stops=False)
    http = mapping(mapping(router.get("route")).get("http"))
    if http.get("refs") or http.get("spec") is not None:
        text = (
            "spec.router.route.http: the route is the platform's, /NAMESPACE/NAME/…; leave http "
            "empty"
        )
        yield Obstacle("HTTPRoutesReady", text, stops=False)
    if router.get("ingress") is not None:
        text = "spec.router.ingress: there are no ingresses; use route: {} instead"
        yield Obstacle("HTTPRoutesReady", text, stops=False)
    if mapping(router.get("route")).get("group"):
        text = "spec.router.route.group: requests are not split among services here"
        yield Obstacle("GroupReady", text, stops=False)
    scheduler = mapping(router.get("scheduler"))
    own = [key for key in ("pool", "template", "config", "tokenizer") if scheduler.get(key)]
    if own:
        text = (
            f"spec.router.scheduler.{own[0]}: there is no Endpoint Picker; the gateway sends to "
            "the pod with the fewest requests, as with scheduler: {}"
        )
        yield Obstacle("SchedulerWorkloadReady", text, stops=False)
