"""Limit ranges: the defaults and bounds that a namespace sets for containers, pods and claims.

Upstream: ``plugin/pkg/admission/limitranger``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.podresources import pod_total
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity

__all__ = ["LimitRanges", "prescribe_resources"]

_PODS, _CLAIMS = "/pods", "/persistentvolumeclaims"
_ANNOTATION: Final = "kubernetes.io/limit-ranger"
_BINARY: Final = ("memory", "storage", "ephemeral-storage")

Amounts = Mapping[str, Quantity]


def prescribe_resources(store: Store, pod: Obj) -> None:
    """Gives containers that state none the resources that their namespace prescribes."""
    said: list[str] = []
    for spec in _ranges(store, pod["metadata"]["namespace"]):
        limits = [limit for limit in spec.get("limits") or () if limit.get("type") == "Container"]
        defaults = {
            "requests": {k: v for limit in limits for k, v in _given(limit, "defaultRequest")},
            "limits": {k: v for limit in limits for k, v in _given(limit, "default")},
        }
        for field, word in (("containers", "container"), ("initContainers", "init container")):
            for container in pod["spec"].get(field) or ():
                said += _completed(container, word, defaults)
    if said:
        annotations = pod["metadata"].get("annotations") or {}
        text = f"LimitRanger plugin set: {'; '.join(said)}"
        pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: text}


class LimitRanges:
    """Refuses pods and claims outside the bounds of their namespace."""

    storages: Final = (_PODS, _CLAIMS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        is_pod = served.storage == _PODS
        if options.subresource != ("resize" if is_pod and old is not None else ""):
            return
        judge = _pod_faults if is_pod else _claim_faults
        for spec in _ranges(self._store, new["metadata"]["namespace"]):
            faults = [fault for limit in spec.get("limits") or () for fault in judge(limit, new)]
            if faults:
                why = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
                name = new["metadata"].get("name", "")
                raise Forbidden.of("", served.resource.plural, name, why)


def _ranges(store: Store, namespace: str) -> Iterator[Obj]:
    for record in store.list("/limitranges", namespace):
        yield record.obj.get("spec") or {}


def _given(limit: Obj, field: str) -> Iterator[tuple[str, Any]]:
    yield from (limit.get(field) or {}).items()


def _completed(container: Obj, word: str, defaults: Mapping[str, Obj]) -> Iterator[str]:
    """Fills in what a container leaves open; tells what that was."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        stated = resources.get(kind) or {}
        if kind == "requests":
            # A container's own limit is its request where it names none, before any default is.
            stated = {**(resources.get("limits") or {}), **stated}
        missing = {k: v for k, v in defaults[kind].items() if k not in stated}
        if missing:
            resources = {**resources, kind: {**missing, **stated}}
            yield f"{', '.join(sorted(missing))} {kind[:-1]} for {word} {container.get('name', '')}"
    if resources:
        container["resources"] = resources


def _pod_faults(limit: Obj, pod: Obj) -> Iterator[str]:
    spec, kind = pod["spec"], limit.get("type", "")
    if kind == "Pod":
        yield from _faults(limit, pod_total(spec, "requests"), pod_total(spec, "limits"))
    elif kind == "Container":
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            resources = container.get("resources") or {}
            yield from _faults(limit, _read(resources, "requests"), _read(resources, "limits"))


def _claim_faults(limit: Obj, claim: Obj) -> Iterator[str]:
    if limit.get("type") != "PersistentVolumeClaim":
        return
    requests = _read(claim["spec"].get("resources") or {}, "requests")
    for name, least in _read(limit, "min").items():
        yield from _below("PersistentVolumeClaim", name, least, requests, {})
    for name, most in _read(limit, "max").items():
        about = f"maximum {name} usage per PersistentVolumeClaim is {_show(name, most)}"
        if name not in requests:
            yield f"{about}.  No request is specified"
        elif requests[name] > most:
            yield f"{about}, but request is {_show(name, requests[name])}"


def _faults(limit: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit["type"]
    for name, least in _read(limit, "min").items():
        yield from _below(kind, name, least, requests, limits)
    for name, most in _read(limit, "max").items():
        yield from _above(kind, name, most, requests, limits)
    for name, most in _read(limit, "maxLimitRequestRatio").items():
        yield from _too_far_apart(kind, name, most, requests, limits)


def _below(
    kind: str, name: str, least: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    about = f"minimum {name} usage per {kind} is {_show(name, least)}"
    if name not in requests:
        yield f"{about}.  No request is specified"
    elif requests[name] < least:
        yield f"{about}, but request is {_show(name, requests[name])}"
    elif name in limits and limits[name] < least:
        yield f"{about}, but limit is {_show(name, limits[name])}"


def _above(
    kind: str, name: str, most: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    about = f"maximum {name} usage per {kind} is {_show(name, most)}"
    if name not in limits:
        yield f"{about}.  No limit is specified"
    elif limits[name] > most:
        yield f"{about}, but limit is {_show(name, limits[name])}"
    elif name in requests and requests[name] > most:
        yield f"{about}, but request is {_show(name, requests[name])}"


def _too_far_apart(
    kind: str, name: str, most: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    about = f"{name} max limit to request ratio per {kind} is {_show(name, most)}"
    if not requests.get(name):
        yield f"{about}, but no request is specified or request is 0"
    elif not limits.get(name):
        yield f"{about}, but no limit is specified or limit is 0"
    elif limits[name] / requests[name] > most:
        yield f"{about}, but provided ratio is {float(limits[name] / requests[name]):f}"


def _read(place: Obj, field: str) -> dict[str, Quantity]:
    return {name: parse_quantity(value) for name, value in (place.get(field) or {}).items()}


def _show(name: str, amount: Quantity) -> str:
    return format_quantity(amount, binary=name in _BINARY)
