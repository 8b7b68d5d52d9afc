"""A ResourceQuota's status: the limits, and what the namespace's objects use of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from kubeling.kube.objects import Obj
from kubeling.kube.quotas import collection_of, in_scope, shown, usage
from kubeling.kube.resources import Resource

__all__ = ["counted_resource", "quota_status"]


def counted_resource(entry: str, known: Iterable[Resource]) -> Resource | None:
    """The resource whose objects an entry of ``spec.hard`` counts."""
    counted = collection_of(entry)
    return next((r for r in known if (r.group, r.plural) == counted), None)


def quota_status(quota: Obj, objects: Mapping[Resource, Iterable[Obj]]) -> Obj:
    """The whole status."""
    hard: Mapping[str, str] = quota["spec"].get("hard") or {}
    total = dict.fromkeys(hard, Decimal(0))
    for resource, found in objects.items():
        for obj in found:
            if not in_scope(quota, resource.group, resource.plural, obj):
                continue
            for entry, amount in usage(resource.group, resource.plural, obj).items():
                if entry in total:
                    total[entry] += amount
    used = {entry: shown(entry, amount) for entry, amount in total.items()}
    return {"hard": dict(hard), "used": used}
