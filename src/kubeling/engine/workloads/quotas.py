"""ResourceQuota status: what a namespace uses of what it may. (The server enforces the limits.)"""

from __future__ import annotations

from kubeling.component import Context
from kubeling.engine.workloads.quota_usage import counted_resource, quota_status
from kubeling.engine.workloads.resources import known_resources
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, key_of, namespace
from kubeling.kube.resources import RESOURCE_QUOTAS, Resource

__all__ = ["controller"]


def controller(context: Context) -> Controller:
    """The controller of quota status."""
    return _QuotaController(context)


class _QuotaController(Controller):
    """Follows only the kinds that some quota counts."""

    def __init__(self, context: Context) -> None:
        super().__init__("quota-controller", RESOURCE_QUOTAS, self._count, workers=1)
        self._context = context
        self._quotas = context.informers.of(RESOURCE_QUOTAS)
        self._followed: set[Resource] = set()

    async def _count(self, key: Key) -> None:
        quota = self._quotas.get(*key)
        if quota is None:
            return
        known = list(known_resources(self._context.informers))
        entries = quota["spec"].get("hard") or {}
        counted = {r for entry in entries if (r := counted_resource(entry, known)) is not None}
        for resource in counted:
            await self._follow(resource)
        informers = self._context.informers
        objects = {resource: informers.of(resource).list(key.namespace) for resource in counted}
        status = quota_status(quota, objects)
        await write_status(self._context.client, RESOURCE_QUOTAS, quota, status)

    async def _follow(self, resource: Resource) -> None:
        if resource not in self._followed:
            self._followed.add(resource)
            await self._context.informers.synced(resource)
            self._context.informers.of(resource).add_handler(self._on_change)

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        shown = new if new is not None else old
        assert shown is not None
        for quota in self._quotas.list(namespace(shown)):
            self.wake(key_of(quota))
