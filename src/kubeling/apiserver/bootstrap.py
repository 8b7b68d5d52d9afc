"""What exists before anyone asks: namespaces, roles, priorities, the definitions of the rooms.

Everything missing is written in one transaction, so a first start costs one trip to the disk and a
later one none. What users changed since is left alone, with two exceptions that follow the
release: the definitions of the rooms, and roles, which get the rules they lack unless they are
annotated ``rbac.authorization.kubernetes.io/autoupdate: "false"`` (upstream's reconciliation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.apiserver import metadata as meta
from kubeling.apiserver.bootstrap_roles import bootstrap_roles
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.flowcontrol.objects import flow_control_objects
from kubeling.apiserver.podpriority import system_classes
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store, Write
from kubeling.kube import objects
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj, deep_copy, format_time, generation, labels
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Resource

__all__ = ["bootstrap"]

_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_SOURCE: Final = "kubeling.io/platform"
_AUTO_UPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"


async def bootstrap(
    store: Store,
    catalog: Catalog,
    clock: Clock,
    definitions: Iterable[Obj],
    others: Iterable[tuple[Resource, Obj]] = (),
) -> None:
    """Creates what is missing."""
    writes = [*_namespaces(store, catalog, clock), *_roles(store, catalog, clock)]
    moment = format_time(clock.now())
    for resource, obj in (*system_classes(), *flow_control_objects(moment)):
        writes += _absent(store, catalog, clock, resource, obj)
    writes += _definitions(store, catalog, clock, definitions)
    for resource, obj in others:
        writes += _absent(store, catalog, clock, resource, obj)
    if writes:
        await store.write(*writes)


def _namespaces(store: Store, catalog: Catalog, clock: Clock) -> Iterator[Write]:
    for name in _NAMESPACES:
        obj: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        yield from _absent(store, catalog, clock, NAMESPACES, obj)


def _roles(store: Store, catalog: Catalog, clock: Clock) -> Iterator[Write]:
    for resource, obj in bootstrap_roles():
        served = _served(catalog, resource)
        record = store.get(served.key("", obj["metadata"]["name"]))
        if record is None:
            yield _new(served, obj, clock)
        elif objects.annotations(record.obj).get(_AUTO_UPDATE) != "false":
            for field in ("rules", "subjects"):
                present = record.obj.get(field) or []
                missing = [entry for entry in obj.get(field) or () if entry not in present]
                if missing and "aggregationRule" not in obj:
                    yield Write(record.key, {**record.obj, field: [*present, *missing]})


def _definitions(
    store: Store, catalog: Catalog, clock: Clock, definitions: Iterable[Obj]
) -> Iterator[Write]:
    served = _served(catalog, CUSTOM_RESOURCE_DEFINITIONS)
    for given in definitions:
        wanted: Obj = deep_copy(given)
        wanted["metadata"].setdefault("labels", {})[_SOURCE] = "true"
        record = store.get(served.key("", wanted["metadata"]["name"]))
        served.shape.settle(wanted, None)
        if record is None:
            yield _new(served, wanted, clock)
            continue
        present = record.obj
        if _SOURCE not in labels(present):
            continue
        wanted["metadata"] = deep_copy(present["metadata"])
        served.strategy.prepare_update(wanted, present)
        if wanted["spec"] != present["spec"]:
            wanted["metadata"]["generation"] = generation(present) + 1
            yield Write(record.key, wanted)


def _absent(
    store: Store, catalog: Catalog, clock: Clock, resource: Resource, obj: Obj
) -> Iterator[Write]:
    served = _served(catalog, resource)
    metadata = obj["metadata"]
    if store.get(served.key(metadata.get("namespace", ""), metadata["name"])) is not None:
        return
    yield _new(served, obj, clock)
    for other, companion in served.strategy.companions(obj):
        yield from _absent(store, catalog, clock, other, companion)


def _new(served: Served, obj: Obj, clock: Clock) -> Write:
    meta.begin(obj, clock.now(), has_generation=served.strategy.has_generation)
    served.strategy.prepare_create(obj)
    metadata = obj["metadata"]
    return Write(served.key(metadata.get("namespace", ""), metadata["name"]), obj)


def _served(catalog: Catalog, resource: Resource) -> Served:
    served = catalog.find(resource.group, resource.version, resource.plural)
    assert served is not None, resource
    return served
