"""What is known of each service's requests, read once and kept until something about it changes.

Changes come with events of the service, its Deployments and its pods, and from the activator, which
finds pods ready, and sends them to rest, before the API says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeling.component import Context
from kubeling.kube.informer import Informer
from kubeling.kube.objects import Key, Obj, key_of, labels, namespace
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving import names
from kubeling.serving.activator import Activator
from kubeling.serving.gateway import service
from kubeling.serving.gateway.endpoints import Endpoints
from kubeling.serving.gateway.splitting import Endpoint
from kubeling.serving.names import ComponentName
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["Route", "Routes"]


class Route:
    """One service, as it is now."""

    def __init__(self, isvc: Obj, endpoints: Endpoints, activator: Activator) -> None:
        self.isvc = isvc
        self.key = key_of(isvc)
        self.limit = service.limit_of(isvc)
        self.timeout = service.timeout_of(isvc)
        self.weights = service.weights_of(isvc)
        self.explains = bool(isvc["spec"].get("explainer"))
        self.awake = self._is_awake(activator)
        """Whether requests may be sent without waking or waiting for anything."""
        self._found: dict[ComponentName | None, Mapping[str, Sequence[Endpoint]]] = {}
        self._endpoints = endpoints

    def endpoints(self, component: ComponentName | None = None) -> Mapping[str, Sequence[Endpoint]]:
        """The pods of a component, or of the one that requests enter by, by revision."""
        if component not in self._found:
            self._found[component] = self._endpoints.of(self.isvc, component)
        return self._found[component]

    def pods(self, component: ComponentName | None = None) -> int:
        """How many pods of a component there are, ready or not."""
        return self._endpoints.count(self.isvc, component)

    def numbers(self) -> Sequence[int]:
        """The revisions that get requests."""
        return [service.number_of(title) for title, percent in self.weights.items() if percent]

    def _is_awake(self, activator: Activator) -> bool:
        if not service.rests(self.isvc):
            return True
        numbers = self.numbers()
        return not activator.resting(self.isvc, numbers) and not any(
            activator.is_starting(self.isvc, number) for number in numbers
        )


class Routes:
    """The routes of all services."""

    def __init__(self, context: Context, activator: Activator) -> None:
        self._informers = context.informers
        self._activator = activator
        self._endpoints = Endpoints(context.informers, activator)
        self._routes: dict[Key, Route] = {}
        self._services.add_handler(self._on_service)
        self._informers.of(DEPLOYMENTS).add_handler(self._on_part)
        self._informers.of(PODS).add_handler(self._on_part)
        activator.on_change(self._drop)

    @property
    def _services(self) -> Informer:
        return self._informers.of(INFERENCE_SERVICES)

    async def synced(self) -> None:
        """Waits until there is something to read."""
        await self._informers.synced(INFERENCE_SERVICES, PODS, DEPLOYMENTS)

    def of(self, key: Key) -> Route | None:
        """A service's route, if there is such a service."""
        route = self._routes.get(key)
        if route is None and (isvc := self._services.get(*key)) is not None:
            route = Route(isvc, self._endpoints, self._activator)
            if self._services.synced and self._informers.of(PODS).synced:
                self._routes[key] = route
        return route

    def _drop(self, key: Key) -> None:
        self._routes.pop(key, None)

    def _on_service(self, old: Obj | None, new: Obj | None) -> None:
        if isvc := new or old:
            self._drop(key_of(isvc))

    def _on_part(self, old: Obj | None, new: Obj | None) -> None:
        part = new or old
        if part is not None and (isvc := labels(part).get(names.SERVICE)):
            self._drop(Key(namespace(part), isvc))
