"""The metrics APIs as an autoscaler reads them: resource, custom and external.

They are asked like any other client asks them, so it makes no difference who serves them: the
embedded platform itself, metrics-server, or an adapter behind an APIService.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from kubeling.engine.workloads.replica_calculator import MetricError, PodMetric, milli
from kubeling.engine.workloads.resources import resource_of_kind
from kubeling.kube.client import Client
from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import ApiError
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, parse_time
from kubeling.kube.resources import POD_METRICS

__all__ = ["Metrics"]

_CUSTOM: Final = "custom.metrics.k8s.io"
_EXTERNAL: Final = "external.metrics.k8s.io"
_KNOWN: Final = ("v1beta2", "v1beta1")
_WINDOW: Final = 60.0


class Metrics:
    """Reads measurements; raises :class:`MetricError` where there are none."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._informers = informers

    async def resource(
        self, namespace: str, selector: str, resource: str, container: str
    ) -> dict[str, PodMetric]:
        """What pods use of cpu or memory, by name; of one container if it is named."""
        query = {"labelSelector": selector}
        items = await self._items("resource", POD_METRICS.path(namespace), query)
        found: dict[str, PodMetric] = {}
        for item in items:
            containers = item.get("containers") or ()
            counted = [c for c in containers if container in ("", c["name"])]
            if not counted or any(resource not in c["usage"] for c in counted):
                continue
            value = sum(milli(c["usage"][resource]) for c in counted)
            window = parse_duration(item.get("window") or "0s")
            found[item["metadata"]["name"]] = PodMetric(value, _time(item), window)
        return found

    async def pods(
        self, namespace: str, selector: str, metric: str, metric_selector: str
    ) -> dict[str, PodMetric]:
        """A custom metric of every pod that the selector finds, by name."""
        root = await self._custom()
        query = {"labelSelector": selector, "metricLabelSelector": metric_selector}
        path = f"{root}/namespaces/{namespace}/pods/*/{quote(metric)}"
        found: dict[str, PodMetric] = {}
        for item in await self._items("custom", path, query):
            window = float(item.get("windowSeconds") or item.get("window") or _WINDOW)
            title = item["describedObject"]["name"]
            found[title] = PodMetric(milli(item["value"]), _time(item), window)
        return found

    async def object(self, namespace: str, described: Obj, metric: str, selector: str) -> int:
        """A custom metric of one object."""
        root, where = await self._custom(), f"namespaces/{namespace}"
        title = quote(described["name"])
        if described["kind"] == "Namespace" and "/" not in described.get("apiVersion", "v1"):
            # Whichever namespace is named: nobody reads beyond the own one.
            where += "/metrics"
        else:
            version, kind = described.get("apiVersion", "v1"), described["kind"]
            resource = resource_of_kind(self._informers, version, kind)
            if resource is None:
                group = version.rpartition("/")[0]
                raise _unavailable("custom", f'no matches for kind "{kind}" in group "{group}"')
            where += f"/{resource.qualified}/{title}"
        query = {"metricLabelSelector": selector}
        items = await self._items("custom", f"{root}/{where}/{quote(metric)}", query)
        if len(items) != 1:
            raise _unavailable("custom", f"expected 1 value, got {len(items)}")
        return milli(items[0]["value"])

    async def external(self, namespace: str, metric: str, selector: str) -> list[int]:
        """Every series of an external metric that the selector finds."""
        path = f"/apis/{_EXTERNAL}/v1beta1/namespaces/{namespace}/{quote(metric)}"
        items = await self._items("external", path, {"labelSelector": selector})
        return [milli(item["value"]) for item in items]

    async def _custom(self) -> str:
        """The newest version served that is known here."""
        try:
            group = await self._client.raw("GET", f"/apis/{_CUSTOM}")
        except (ApiError, ConnectionError) as error:
            raise _unavailable("custom", str(error)) from None
        served = {entry["version"] for entry in group.get("versions") or ()}
        version = next((v for v in _KNOWN if v in served), None)
        if version is None:
            raise _unavailable("custom", "no known available metric versions found")
        return f"/apis/{_CUSTOM}/{version}"

    async def _items(self, api: str, path: str, query: dict[str, str]) -> list[Any]:
        asked = {key: value for key, value in query.items() if value}
        try:
            answer = await self._client.raw("GET", path, query=asked)
        except (ApiError, ConnectionError) as error:
            raise _unavailable(api, str(error)) from None
        items: list[Any] = answer.get("items") or []
        if not items:
            raise MetricError(f"no metrics returned from {api} metrics API")
        return items


def _unavailable(api: str, why: str) -> MetricError:
    return MetricError(f"unable to fetch metrics from {api} metrics API: {why}")


def _time(item: Obj) -> Any:
    return parse_time(item["timestamp"])
