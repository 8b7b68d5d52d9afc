"""What is filled in and refused in LLM services and configurations, by upstream's webhooks.

Source: pkg/apis/serving/v1alpha2/llm_inference_service_{defaults,validation}.go and
llm_inference_service_config_validation.go, with their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.llm.scaling_rules import validate_rollout, validate_scaling

__all__ = ["default_llm_service", "size_of", "validate_llm_config", "validate_llm_service"]

GROUP_LABEL: Final = "serving.kserve.io/routing-group"
_KBS: Final = re.compile(r"^kbs:///[^/]+/[^/]+/[^/]+$")
_WORKER: Final = (
    "when worker is specified, parallelism must be configured for either data parallelism or "
    "pipeline parallelism"
)


def default_llm_service(obj: Obj, _: AdmissionRequest) -> None:
    """The model's name is the service's, and pods may be given without containers."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    model = spec.get("model")
    if isinstance(model, dict) and not model.get("name"):
        title = obj["metadata"].get("name")
        if title:
            model["name"] = title
    router = mapping(spec.get("router"))
    _default_group(obj["metadata"], mapping(router.get("route")).get("group"))
    scheduler = mapping(router.get("scheduler"))
    for place in (spec, mapping(spec.get("prefill")), scheduler):
        for key in ("template", "worker"):
            pod = place.get(key)
            if isinstance(pod, dict) and pod.get("containers") is None:
                pod["containers"] = []


def _default_group(metadata: Obj, group: Any) -> None:
    """The label by which upstream finds the services that share their requests."""
    labels = metadata.get("labels")
    if labels is not None and not isinstance(labels, dict):
        return
    if group is not None:
        metadata["labels"] = {**(labels or {}), GROUP_LABEL: group}
    elif labels:
        labels.pop(GROUP_LABEL, None)


def validate_llm_service(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a service."""
    spec = mapping(obj.get("spec"))
    if not mapping(spec.get("model")).get("uri") and not spec.get("baseRefs"):
        yield FieldError("spec.model.uri", "Required value", "e.g. hf://facebook/opt-125m")
    yield from _router(mapping(spec.get("router")))
    yield from _traffic(mapping(spec.get("router")))
    yield from _scheduler(mapping(mapping(spec.get("router")).get("scheduler")))
    yield from _lora(obj, mapping(spec.get("model")))
    yield from _confidential(mapping(spec.get("model")))
    for path, workload in _workloads(spec):
        yield from _parallelism(path, workload)
        yield from validate_scaling(path, workload)
        yield from validate_rollout(path, workload)
        yield from _cache(path, mapping(workload.get("kvCacheOffloading")))
    yield from _one_way_to_scale(spec)
    yield from _immutable(spec, mapping(mapping(old or {}).get("spec")) if old else None)


def validate_llm_config(obj: Obj, _: Obj | None, __: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a configuration; the rest is judged once it is merged."""
    spec = mapping(obj.get("spec"))
    if spec.get("baseRefs"):
        yield FieldError(
            "spec.baseRefs",
            "Forbidden",
            "baseRefs is not a permitted field in LLMInferenceServiceConfig, support for "
            "recursive refs has been disabled",
        )
    scheduler = mapping(mapping(spec.get("router")).get("scheduler"))
    yield from _scheduler_replicas(scheduler)


def size_of(parallelism: Obj) -> int:
    """Over how many nodes a model is spread."""
    data, local = parallelism.get("data"), parallelism.get("dataLocal")
    if data or local:
        return max(max(data or 1, 1) // max(local or 1, 1), 1)
    return int(parallelism.get("pipeline") or 1)


def _workloads(spec: Obj) -> Iterator[tuple[str, Obj]]:
    yield "spec", spec
    if isinstance(spec.get("prefill"), dict):
        yield "spec.prefill", spec["prefill"]


def _router(router: Obj) -> Iterator[FieldError]:
    http = mapping(mapping(router.get("route")).get("http"))
    path, gateway = "spec.router.route.http", router.get("gateway")
    refs, spec = http.get("refs"), http.get("spec")
    if refs and spec is not None:
        message = (
            f"unsupported configuration: cannot use both custom HTTPRoute refs ('{path}.refs') and "
            f"an inline route spec ('{path}.spec'); choose one"
        )
        yield FieldError(path, "Invalid value", message, http)
    gateway_refs = mapping(gateway).get("refs")
    if refs and gateway is not None and not gateway_refs:
        message = (
            f"unsupported configuration: custom HTTP routes ('{path}.refs') cannot be used with a "
            f"managed gateway ('spec.router.gateway'); either remove '{path}.refs' or set "
            "'spec.router.gateway.refs'"
        )
        yield FieldError(f"{path}.refs", "Invalid value", message, refs)
    parents = mapping(spec).get("parentRefs")
    if parents and gateway_refs and _places(parents) != _places(gateway_refs):
        message = (
            f"unsupported configuration: managed HTTP route spec ('{path}.spec') has parentRefs "
            "that conflict with custom gateway refs ('spec.router.gateway.refs'); either remove "
            f"'spec.router.gateway.refs' or '{path}.spec.parentRefs'"
        )
        yield FieldError(f"{path}.spec", "Invalid value", message, spec)


def _places(refs: Any) -> list[tuple[str, str, str]]:

    return sorted(
        (_text(r, "namespace"), _text(r, "name"), _text(r, "sectionName")) for r in mappings(refs)
    )


def _traffic(router: Obj) -> Iterator[FieldError]:
    route, path = mapping(router.get("route")), "spec.router.route"
    group, weight = route.get("group"), route.get("weight")
    if group is None and weight is None:
        return
    if router.get("ingress") is not None:
        message = (
            "traffic splitting requires Gateway API routing; the controller manages HTTPRoutes, "
            "not Ingress resources"
        )
        yield FieldError(f"{path}.group", "Invalid value", message, group or "")
    elif group is None:
        yield FieldError(f"{path}.group", "Required value", "weight requires group")
    elif weight is None:
        yield FieldError(f"{path}.weight", "Required value", "group requires weight")
    elif mapping(route.get("http")).get("refs"):
        message = (
            "traffic splitting cannot be used with custom HTTPRoute refs; controller-managed "
            "routes (route.http.spec or route.http: {}) are required"
        )
        yield FieldError(f"{path}.group", "Invalid value", message, group)


def _scheduler_replicas(scheduler: Obj) -> Iterator[FieldError]:
    replicas = scheduler.get("replicas")
    if isinstance(replicas, int) and replicas <= 0:
        path, message = (
            "spec.router.scheduler.replicas",
            "scheduler replicas must be greater than zero",
        )
        yield FieldError(path, "Invalid value", message, replicas)


def _scheduler(scheduler: Obj) -> Iterator[FieldError]:
    yield from _scheduler_replicas(scheduler)
    config, path = scheduler.get("config"), "spec.router.scheduler.config"
    if not isinstance(config, dict):
        return
    inline, ref = config.get("inline"), config.get("ref")
    if inline is None and ref is None:
        yield FieldError(path, "Invalid value", "either inline or ref is required", config)
    elif inline is not None and ref is not None:
        message = "both inline and ref are set, either specify inline or ref"
        yield FieldError(path, "Invalid value", message, config)
    if inline == {}:
        yield FieldError(f"{path}.inline", "Invalid value", "inline configuration is invalid", {})
    if ref is not None and not mapping(ref).get("name"):
        yield FieldError(f"{path}.ref.name", "Invalid value", "name is empty", ref)


def _lora(obj: Obj, model: Obj) -> Iterator[FieldError]:
    base = model.get("name") or obj["metadata"].get("name")
    seen: dict[str, int] = {}
    for index, adapter in enumerate(mappings(mapping(model.get("lora")).get("adapters"))):
        path, title = f"spec.model.lora.adapters[{index}].name", adapter.get("name")
        if not title:
            yield FieldError(path, "Required value", "adapter name is required")
        elif title in (".", ".."):
            message = 'adapter name must not include "." or ".." (path traversal risk)'
            yield FieldError(path, "Invalid value", message, title)
        elif title in seen:
            message = f"duplicate name (same as adapters[{seen[title]}])"
            yield FieldError(path, "Invalid value", message, title)
        else:
            seen[title] = index
        if title == base:
            message = f'adapter name must differ from base model name "{base}"'
            yield FieldError(path, "Invalid value", message, title)


def _confidential(model: Obj) -> Iterator[FieldError]:
    confidential = mapping(model.get("confidential"))
    if not confidential.get("enabled"):
        return
    if not model.get("uri"):
        yield FieldError("spec.model.uri", "Required value", "a confidential model needs one")
    resource = confidential.get("resourceId")
    if resource and not _KBS.match(resource):
        path = "spec.model.confidential.resourceId"
        yield FieldError(path, "Invalid value", "must be kbs:///<repo>/<type>/<tag>", resource)


def _parallelism(path: str, workload: Obj) -> Iterator[FieldError]:
    found, worker = workload.get("parallelism"), workload.get("worker")
    parallelism = mapping(found)
    pipeline = parallelism.get("pipeline")
    data, local = parallelism.get("data"), parallelism.get("dataLocal")
    spread = bool(data or local)
    if worker is not None and not spread and not pipeline:
        yield FieldError(f"{path}.worker", "Invalid value", _WORKER, worker)
    path = f"{path}.parallelism"
    if pipeline and spread:
        message = (
            "cannot set both pipeline parallelism and data parallelism (data or dataLocal) "
            "simultaneously"
        )
        yield FieldError(path, "Invalid value", message, found)
    if data is not None and local is None:
        message = "dataLocal must be set when data is set"
        yield FieldError(f"{path}.dataLocal", "Invalid value", message)
    if local is not None and data is None:
        yield FieldError(f"{path}.data", "Invalid value", "data must be set when dataLocal is set")


def _cache(path: str, cache: Obj) -> Iterator[FieldError]:
    path, several = f"{path}.kvCacheOffloading", mappings(cache.get("secondary"))
    if several and not cache.get("cpu"):
        message = "cpu must be set when secondary tiers are configured"
        yield FieldError(f"{path}.cpu", "Required value", message)
    for index, tier in enumerate(several):
        place, files = f"{path}.secondary[{index}].fileSystem", tier.get("fileSystem")
        if files is None:
            message = "only fileSystem tiers are supported; fileSystem must be set"
            yield FieldError(place, "Required value", message)
            continue
        yield from _one_of(place, mapping(files), "emptyDir", "pvc")
        if isinstance(claim := mapping(files).get("pvc"), dict):
            yield from _one_of(f"{place}.pvc", claim, "spec", "ref")


def _one_of(path: str, found: Obj, first: str, second: str) -> Iterator[FieldError]:
    given = [key for key in (first, second) if found.get(key) is not None]
    if not given:
        yield FieldError(path, "Required value", f"exactly one of {first} or {second} must be set")
    elif len(given) == 2:
        message = f"exactly one of {first} or {second} must be set; multiple are set"
        yield FieldError(path, "Invalid value", message, found)


def _one_way_to_scale(spec: Obj) -> Iterator[FieldError]:
    ours = mapping(spec.get("scaling"))
    theirs = mapping(mapping(spec.get("prefill")).get("scaling"))
    if not ours or not theirs:
        return
    path = "spec.prefill.scaling"
    if (ours.get("keda") is None) != (theirs.get("keda") is None):
        names = ["direct keda" if s.get("keda") is not None else "wva" for s in (ours, theirs)]
        message = (
            "decode and prefill must use the same scaling mode; decode uses "
            f"{names[0]} but prefill uses {names[1]}"
        )
        yield FieldError(path, "Invalid value", message, theirs)
        return
    mine, other = mapping(ours.get("wva")), mapping(theirs.get("wva"))
    if mine and other and (mine.get("hpa") is None) != (other.get("hpa") is None):
        names = ["keda" if w.get("hpa") is None else "hpa" for w in (mine, other)]
        message = (
            "decode and prefill must use the same actuator backend; decode uses "
            f"{names[0]} but prefill uses {names[1]}"
        )
        yield FieldError(f"{path}.wva", "Invalid value", message, other)


def _immutable(spec: Obj, before: Obj | None) -> Iterator[FieldError]:
    if before is None:
        return
    earlier = dict(_workloads(before))
    for path, workload in _workloads(spec):
        if path not in earlier:
            continue
        now = size_of(mapping(workload.get("parallelism")))
        then = size_of(mapping(earlier[path].get("parallelism")))
        if now != then:
            message = f"total parallelism size is immutable, previous size {then}, curr size {now}"
            yield FieldError(f"{path}.parallelism", "Unsupported value", message, now)


def _text(found: Obj, key: str) -> str:
    return str(found.get(key) or "")
