"""Writes routes of the Gateway API where a cluster has its kinds.

Without an inference gateway each service has its own, straight to its revisions; with one, all
hosts lead to it, because it counts, holds and wakes. Clusters without the kinds have Services
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, labels, name, namespace
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, SERVICES, Resource
from kubeling.serving import names
from kubeling.serving.dependents import Dependents
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.routes.plan import routes_of, shared_routes
from kubeling.serving.routes.resources import ROUTES, definition_of
from kubeling.serving.settings import ServingSettings

__all__ = ["RouteController"]


class RouteController:
    """Reconciles the routes of InferenceServices."""

    def __init__(self, context: Context) -> None:
        self._informers = context.informers
        self._settings = context.settings
        self._parent = ServingSettings.of(context.settings).parent_gateway
        recorder = context.recorder("inferenceservice-routes")
        self._dependents = Dependents(context.client, context.informers, recorder)
        self._followed: set[Resource] = set()
        # Of definitions, which are large, only the names are kept.
        self._definitions = context.informers.metadata_of(CUSTOM_RESOURCE_DEFINITIONS)
        self._definitions.add_handler(self._on_definition)
        self._controller = Controller(
            "inferenceservice-routes",
            INFERENCE_SERVICES,
            self.reconcile,
            watches={SERVICES: self._on_service},
            workers=1,
        )

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return self._controller

    async def reconcile(self, key: Key) -> None:
        """Brings the routes of one service to what its status says."""
        kinds = await self._kinds()
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if not kinds or isvc is None or deletion_requested(isvc):
            return
        gateway = self._informers.of(SERVICES).get(*names.GATEWAY)
        wanted: dict[tuple[Resource, Key], Obj] = {}
        if gateway is not None:
            await self._ensure_shared(gateway, kinds)
        else:
            found = routes_of(isvc, self._parent, self._settings, self._services_of(isvc))
            wanted = {(kind, key_of(route)): route for kind, route in found if kind in kinds}
        for (kind, _), route in wanted.items():
            await self._dependents.ensure(kind, isvc, route)
        for kind in kinds:
            for route in self._informers.of(kind).owned_by(objects.uid(isvc)):
                if (kind, key_of(route)) not in wanted:
                    await self._dependents.delete(kind, route)

    async def _kinds(self) -> list[Resource]:
        """The kinds of routes that the cluster has."""
        if not self._parent:
            return []
        await self._definitions.wait_synced()
        kinds = [kind for kind in ROUTES if self._definitions.get("", definition_of(kind))]
        for kind in set(kinds) - self._followed:
            self._followed.add(kind)
            self._informers.of(kind).add_handler(self._on_route)
        await self._informers.synced(*kinds)
        return kinds

    async def _ensure_shared(self, gateway: Obj, kinds: list[Resource]) -> None:
        kind, route = shared_routes(gateway, self._parent, self._settings)
        if kind in kinds:
            await self._dependents.ensure(kind, gateway, route)

    def _services_of(self, isvc: Obj) -> Mapping[str, Obj]:
        owned = self._informers.of(SERVICES).owned_by(objects.uid(isvc))
        return {name(service): service for service in owned}

    def _on_definition(self, old: Obj | None, new: Obj | None) -> None:
        definition = new or old
        if definition is not None and name(definition) in map(definition_of, ROUTES):
            for key in self._all():
                self._controller.wake(key)

    def _on_route(self, old: Obj | None, new: Obj | None) -> None:
        route = new or old
        if route is not None and (isvc := labels(route).get(names.SERVICE)):
            self._controller.wake(Key(namespace(route), isvc))

    def _on_service(self, service: Obj) -> Iterable[Key]:
        if key_of(service) == Key(*names.GATEWAY):
            return self._all()
        isvc = labels(service).get(names.SERVICE)
        return [Key(namespace(service), isvc)] if isvc else ()

    def _all(self) -> Iterator[Key]:
        return map(key_of, self._informers.of(INFERENCE_SERVICES).list())
