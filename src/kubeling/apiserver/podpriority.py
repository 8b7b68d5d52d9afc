"""Priorities: what the class of a pod, or the default one, says about its place in the queue.

Upstream: ``plugin/pkg/admission/priority``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PRIORITY_CLASSES, Resource

__all__ = ["PRIORITIES", "SYSTEM_PRIORITIES", "PriorityClasses", "give_priority", "system_classes"]

PRIORITIES: Final = "scheduling.k8s.io/priorityclasses"
_GROUP, _PLURAL = PRIORITIES.split("/")
_SYSTEM: Final = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another "
        "node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)

SYSTEM_PRIORITIES: Final = {name: value for name, value, _ in _SYSTEM}


def system_classes() -> Iterator[tuple[Resource, Obj]]:
    """The classes every cluster has."""
    for name, value, description in _SYSTEM:
        yield (
            PRIORITY_CLASSES,
            {
                "apiVersion": PRIORITY_CLASSES.api_version,
                "kind": PRIORITY_CLASSES.kind,
                "metadata": {"name": name},
                "value": value,
                "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            },
        )


def give_priority(store: Store, pod: Obj) -> None:
    """Settles a new pod's priority and whether it may push others out."""
    spec = pod["spec"]
    name = spec.get("priorityClassName")
    if name:
        record = store.get(StoreKey(PRIORITIES, "", name))
        if record is None:
            raise _refused(pod, f"no PriorityClass with name {name} was found")
        chosen = record.obj
    else:
        chosen = _default(store) or {}
        if chosen:
            spec["priorityClassName"] = chosen["metadata"]["name"]
    value = chosen.get("value", 0)
    policy = chosen.get("preemptionPolicy") or "PreemptLowerPriority"
    if spec.get("priority", value) != value:
        raise _refused(
            pod,
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name",
        )
    if spec.get("preemptionPolicy", policy) != policy:
        raise _refused(
            pod,
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be "
            f"provided in pod spec; priority admission controller computed {policy} from the given "
            "PriorityClass name",
        )
    spec["priority"], spec["preemptionPolicy"] = value, policy


class PriorityClasses:
    """Refuses a second default class."""

    storages: Final = (PRIORITIES,)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        default = _default(self._store) if new.get("globalDefault") else None
        if default is not None and default["metadata"]["name"] != new["metadata"]["name"]:
            why = (
                f"PriorityClass {default['metadata']['name']} is already marked as default. Only "
                "one default can exist"
            )
            raise Forbidden.of(_GROUP, _PLURAL, new["metadata"]["name"], why)


def _default(store: Store) -> Obj | None:
    marked = [r.obj for r in store.list(PRIORITIES) if r.obj.get("globalDefault")]
    return min(marked, key=lambda found: int(found.get("value", 0)), default=None)


def _refused(pod: Obj, why: str) -> Forbidden:
    return Forbidden.of("", "pods", pod["metadata"].get("name", ""), why)
