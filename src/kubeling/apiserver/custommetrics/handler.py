"""The API: ``/apis/custom.metrics.k8s.io/v1beta2``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from kubeling.apiserver.aggregation.delegate import Delegates
from kubeling.apiserver.custommetrics.samples import Samples, Value
from kubeling.apiserver.custommetrics.scraper import Scraper
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.scale import scale_of
from kubeling.apiserver.served import Served
from kubeling.kube import selectors
from kubeling.kube.errors import MethodNotAllowed, NotFound
from kubeling.kube.objects import Obj, format_time, labels, name, namespace, uid
from kubeling.kube.quantities import format_quantity
from kubeling.kube.selectors import LabelSelector

__all__ = ["GROUP", "VERSION", "CustomMetrics"]

GROUP: Final = "custom.metrics.k8s.io"
VERSION: Final = "v1beta2"
_ALL: Final = "*"


class CustomMetrics:
    """Answers from what pods expose. A value of another object is the sum over its pods."""

    stale = False

    def __init__(self, registry: Registry, delegates: Delegates, scraper: Scraper) -> None:
        self._registry = registry
        self._delegates = delegates
        self._scraper = scraper
        self._names: set[str] = set()

    @property
    def resources(self) -> Sequence[Obj]:
        """The metrics seen lately: which others there are is known when they are asked for."""
        return [
            {
                "name": f"{plural}/{metric}",
                "singularName": "",
                "namespaced": plural != "namespaces",
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in sorted(self._names)
            for plural in ("namespaces", "pods")
        ]

    async def handle(self, target: Target, request: ApiRequest) -> Answer:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("custom metrics can only be read")
        if not target.is_resource:
            return ObjectAnswer(self._discovery())
        metric_selector = selectors.parse(request.query.get("metricLabelSelector", ""))
        objects, metric = self._described(target, request)
        pods = {uid(obj): self._pods_of(served, obj) for served, obj in objects}
        samples = await self._scraper.samples(
            {uid(pod): pod for found in pods.values() for pod in found}.values()
        )
        self._remember()
        items = [
            self._item(served, obj, metric, value, request)
            for served, obj in objects
            if (value := _total(pods[uid(obj)], samples, metric, metric_selector)) is not None
        ]
        if not items:
            shown = target.plural if target.name else "namespaces"
            single = "" if target.name in ("", _ALL) else f" {target.name}"
            raise NotFound(f"the server could not find the metric {metric} for {shown}{single}")
        return ObjectAnswer(
            {
                "kind": "MetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": items,
            }
        )

    def _discovery(self) -> Obj:
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{GROUP}/{VERSION}",
            "resources": list(self.resources),
        }

    def _described(
        self, target: Target, request: ApiRequest
    ) -> tuple[list[tuple[Served, Obj]], str]:
        """The objects whose metric is wanted, and its name."""
        if target.plural == "metrics" and not target.subresource:
            served = self._served("namespaces")
            return [(served, self._registry.get(served, "", target.namespace))], target.name
        served = self._served(target.plural)
        where = target.namespace if served.resource.namespaced else ""
        if target.name != _ALL:
            return [(served, self._registry.get(served, where, target.name))], target.subresource
        selector = selectors.parse(request.query.get("labelSelector", ""))
        found = self._registry.store.list(served.storage, where)
        objects = [record.obj for record in found if selector.matches(labels(record.obj))]
        return [(served, obj) for obj in objects], target.subresource

    def _served(self, resource: str) -> Served:
        plural, _, group = resource.partition(".")
        for served in self._registry.catalog:
            if (served.resource.plural, served.resource.group) == (plural, group):
                return served
        raise NotFound(f"the server could not find the resource {resource} for custom metrics")

    def _pods_of(self, served: Served, obj: Obj) -> list[Obj]:
        if served.storage == "/pods":
            return [obj]
        if served.storage == "/namespaces":
            return self._pods(name(obj), LabelSelector())
        selector = _selector(served, obj)
        return [] if selector is None else self._pods(namespace(obj), selector)

    def _pods(self, where: str, selector: LabelSelector) -> list[Obj]:
        found = self._registry.store.list("/pods", where)
        return [record.obj for record in found if selector.matches(labels(record.obj))]

    def _item(
        self, served: Served, obj: Obj, metric: str, value: Value, request: ApiRequest
    ) -> Obj:
        resource = served.resource
        described = {"kind": resource.kind, "name": name(obj), "apiVersion": resource.api_version}
        if resource.namespaced:
            described["namespace"] = namespace(obj)
        identifier: Obj = {"name": metric, "selector": None}
        if text := request.query.get("metricLabelSelector"):
            identifier["selector"] = _as_object(selectors.parse(text))
        item: Obj = {
            "describedObject": described,
            "metric": identifier,
            "timestamp": format_time(self._registry.clock.now()),
            "value": format_quantity(Decimal(round(value.value * 1000)) / 1000),
        }
        if value.window is not None:
            item["windowSeconds"] = max(1, round(value.window))
        return item

    def _remember(self) -> None:
        if (names := self._scraper.names()) != self._names:
            self._names = names
            self._delegates.changed()


def _total(
    pods: Iterable[Obj], samples: dict[str, Samples], metric: str, selector: LabelSelector
) -> Value | None:
    found = [
        value
        for pod in pods
        if (sampled := samples.get(uid(pod))) is not None
        and (value := sampled.value(metric, selector)) is not None
    ]
    if not found:
        return None
    windows = [value.window for value in found if value.window is not None]
    return Value(sum(value.value for value in found), max(windows, default=None))


def _selector(served: Served, obj: Obj) -> LabelSelector | None:
    """How an object finds its pods; ``None`` for one that has none."""
    if served.scale is not None:
        text = scale_of(served, obj)["status"].get("selector")
        return selectors.parse(text) if text else None
    given = (obj.get("spec") or {}).get("selector")
    if not isinstance(given, dict) or not given:
        return None
    if given.keys() <= {"matchLabels", "matchExpressions"}:
        return selectors.from_object(given)
    return selectors.from_object({"matchLabels": given})


def _as_object(selector: LabelSelector) -> Obj:
    terms = [
        {"key": term.key, "operator": term.operator, **_values(sorted(term.values))}
        for term in selector.requirements
    ]
    return {"matchExpressions": terms}


def _values(values: list[str]) -> Obj:
    return {"values": values} if values else {}
