"""What the server keeps in order by itself: small reconcilers over its own store.

- every namespace has its ``default`` account and the CA's certificate, even if someone deletes
  them;
- aggregated cluster roles hold the rules of the roles they select;
- a definition that is deleted takes its objects with it and leaves its names to others;
- events go after an hour;
- and what other parts of the server add.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from kubeling.apiserver.definitions import CLEANUP
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import ListOptions, WriteOptions
from kubeling.apiserver.rbac import RBAC
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.served import Served
from kubeling.kube import selectors
from kubeling.kube.errors import AlreadyExists, ApiError, NotFound
from kubeling.kube.objects import (
    Obj,
    deletion_requested,
    is_condition_true,
    labels,
    parse_time,
)

__all__ = ["Upkeep"]

log = logging.getLogger(__name__)

_EVENT_SECONDS: Final = 3600
_CLUSTER_ROLES: Final = f"{RBAC}/clusterroles"
_DEFINITIONS: Final = "apiextensions.k8s.io/customresourcedefinitions"


class Upkeep:
    """Runs the reconcilers: what is asked for, however often, is done once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._wanted: dict[tuple[str, str], None] = {}
        self._under_way: set[tuple[str, str]] = set()
        self._more: dict[str, Callable[[str], Awaitable[None]]] = {}
        self._wake = asyncio.Event()
        store = registry.store
        store.subscribe("/serviceaccounts", self._on_companion("default"))
        store.subscribe("/configmaps", self._on_companion("kube-root-ca.crt"))
        store.subscribe(_CLUSTER_ROLES, lambda _: self.ask("aggregate", ""))
        store.subscribe(_DEFINITIONS, self._on_definition)

    def also(self, task: str, carry_out: Callable[[str], Awaitable[None]]) -> None:
        """Lets another part of the server be asked for: what is asked is what it is called with."""
        self._more[task] = carry_out

    def ask(self, task: str, name: str) -> None:
        """Has something done soon; asking again before it has begun changes nothing."""
        self._wanted[task, name] = None
        self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for wanted in [key for key in self._wanted if key not in self._under_way]:
                    del self._wanted[wanted]
                    self._under_way.add(wanted)
                    group.create_task(self._carry_out(*wanted))

    async def _carry_out(self, task: str, name: str) -> None:
        try:
            await self._do(task, name)
        except ApiError as error:
            log.warning("upkeep (%s %s): %s", task, name, error)
        except Exception:
            # One task's defect must not end the others.
            log.exception("upkeep (%s %s) failed", task, name)
        finally:
            self._under_way.discard((task, name))
            self._wake.set()

    async def expire_events(self) -> None:
        """Deletes events nobody repeated for an hour."""
        oldest = self._registry.clock.now() - dt.timedelta(seconds=_EVENT_SECONDS)
        served = self._served("/events")
        for record in self._registry.store.list("/events"):
            if _last_seen(record.glance()) < oldest:
                await self._delete(served, record.key)

    async def _do(self, task: str, name: str) -> None:
        match task:
            case "namespace":
                await self._complete_namespace(name)
            case "aggregate":
                await self.aggregate()
            case "names":
                await self._claim_names()
            case "empty":
                await self._empty(name)
            case _:
                await self._more[task](name)

    # --- namespaces ------------------------------------------------------------------------

    def _on_companion(self, name: str) -> Callable[[Event], None]:
        def follow(event: Event) -> None:
            if event.type == "DELETED" and event.record.key.name == name:
                self.ask("namespace", event.record.key.namespace)

        return follow

    async def _complete_namespace(self, name: str) -> None:
        record = self._registry.store.get(StoreKey("/namespaces", "", name))
        if record is None or deletion_requested(record.obj):
            return
        for resource, obj in self._served("/namespaces").strategy.companions(record.obj):
            served = self._served(f"{resource.group}/{resource.plural}")
            try:
                await self._registry.create(served, name, obj, WriteOptions(internal=True))
            except AlreadyExists:
                continue

    # --- cluster roles ---------------------------------------------------------------------

    async def aggregate(self) -> None:
        """Gives every aggregated role the rules of the roles it selects."""
        served = self._served(_CLUSTER_ROLES)
        roles = [record.obj for record in self._registry.store.list(_CLUSTER_ROLES)]
        for role in roles:
            if not (role.get("aggregationRule") or {}).get("clusterRoleSelectors"):
                continue
            rules = list(_aggregated(role, roles))
            if rules != (role.get("rules") or []):
                await self._registry.update(
                    served,
                    "",
                    role["metadata"]["name"],
                    _with_rules(rules),
                    WriteOptions(internal=True),
                )

    # --- definitions -----------------------------------------------------------------------

    def _on_definition(self, event: Event) -> None:
        if event.type == "DELETED":
            self.ask("names", "")
        elif deletion_requested(event.record.obj):
            self.ask("empty", event.record.key.name)

    async def _claim_names(self) -> None:
        """Lets definitions that waited for names have those that have become free."""
        served = self._served(_DEFINITIONS)
        for record in self._registry.store.list(_DEFINITIONS):
            if not is_condition_true(record.obj, "NamesAccepted"):
                name = record.key.name
                await self._registry.update(
                    served, "", name, lambda obj: obj, WriteOptions(internal=True)
                )

    async def _empty(self, name: str) -> None:
        record = self._registry.store.get(StoreKey(_DEFINITIONS, "", name))
        if record is None:
            return
        spec = record.obj["spec"]
        served = self._registry.catalog.of_storage(f"{spec['group']}/{spec['names']['plural']}")
        if served is not None:
            await self._registry.delete_collection(served, "", ListOptions(), DeleteOptions())
            watcher = self._registry.store.watch(served.storage, self._registry.store.version)
            try:
                while self._registry.store.count(served.storage) and not watcher.closed:
                    await watcher.next()
            finally:
                watcher.close()
        await self._registry.update(
            self._served(_DEFINITIONS), "", name, _without_cleanup, WriteOptions(internal=True)
        )

    # --- shared ----------------------------------------------------------------------------

    def _served(self, storage: str) -> Served:
        served = self._registry.catalog.of_storage(storage)
        assert served is not None, storage
        return served

    async def _delete(self, served: Served, key: StoreKey) -> None:
        try:
            await self._registry.delete(served, key.namespace, key.name, DeleteOptions())
        except NotFound:
            return


def _aggregated(role: Obj, roles: list[Obj]) -> Iterator[Obj]:
    seen: list[Obj] = []
    for selector in role["aggregationRule"]["clusterRoleSelectors"]:
        compiled = selectors.from_object(selector)
        for other in roles:
            if other is role or not compiled.matches(labels(other)):
                continue
            for rule in other.get("rules") or ():
                if rule not in seen:
                    seen.append(rule)
                    yield rule


def _with_rules(rules: list[Obj]) -> Callable[[Obj], Obj]:
    def transform(role: Obj) -> Obj:
        role["rules"] = rules
        return role

    return transform


def _without_cleanup(definition: Obj) -> Obj:
    metadata = definition["metadata"]
    metadata["finalizers"] = [f for f in metadata.get("finalizers") or () if f != CLEANUP]
    return definition


def _last_seen(event: Obj) -> dt.datetime:
    series: Any = event.get("series") or {}
    text = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"]["creationTimestamp"]
    )
    return parse_time(text)
