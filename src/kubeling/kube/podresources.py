"""What a pod asks for in all: one sum for the quotas, the limits and whoever shows it. Pure.

Containers and sidecars add up; the other init containers run one after the other beside the
sidecars begun so far, so the most that any moment needs counts. Resources stated for the pod as a
whole come before its containers', and the overhead is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = ["amounts", "is_best_effort", "pod_total"]

Kind = Literal["requests", "limits"]

_ZERO: Final = Decimal(0)


def amounts(resources: Mapping[str, Any] | None, kind: Kind) -> dict[str, Quantity]:
    """What is stated; a limit without a request is a request too."""
    found = resources or {}
    stated = found.get(kind) or {}
    if kind == "requests":
        stated = {**(found.get("limits") or {}), **stated}
    return {name: parse_quantity(value) for name, value in stated.items()}


def pod_total(spec: Obj, kind: Kind) -> dict[str, Quantity]:
    """The whole pod's requests or limits."""
    running = _sum(amounts(c.get("resources"), kind) for c in spec.get("containers") or ())
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        wanted = amounts(container.get("resources"), kind)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, wanted))
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _sum((sidecars, wanted)))
    total = _most(_sum((running, sidecars)), peak)
    total |= amounts(spec.get("resources"), kind)
    overhead = {name: parse_quantity(v) for name, v in (spec.get("overhead") or {}).items()}
    if kind == "limits":
        # What is not limited stays so.
        overhead = {name: value for name, value in overhead.items() if name in total}
    return _sum((total, overhead))


def is_best_effort(spec: Obj) -> bool:
    """Whether the pod asks for no cpu and no memory at all."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    named = [spec.get("resources") or {}, *(c.get("resources") or {} for c in containers)]
    return not any(
        parse_quantity(value)
        for resources in named
        for kind in ("requests", "limits")
        for name, value in (resources.get(kind) or {}).items()
        if name in ("cpu", "memory")
    )


def _sum(parts: Iterable[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, _ZERO) + value
    return total


def _most(a: Mapping[str, Quantity], b: Mapping[str, Quantity]) -> dict[str, Quantity]:
    return {name: max(a.get(name, _ZERO), b.get(name, _ZERO)) for name in {**a, **b}}
