"""Whether a flow schema's priority level exists, as its condition ``Dangling`` tells."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.flowcontrol.objects import dangling
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.upkeep import Upkeep
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, format_time

__all__ = ["DanglingSchemas"]

_TASK: Final = "flow schema"
_GROUP: Final = "flowcontrol.apiserver.k8s.io"
_SCHEMAS, _LEVELS = f"{_GROUP}/flowschemas", f"{_GROUP}/prioritylevelconfigurations"


class DanglingSchemas:
    """Keeps the condition right."""

    def __init__(self, registry: Registry, upkeep: Upkeep) -> None:
        self._registry = registry
        self._upkeep = upkeep
        upkeep.also(_TASK, self._keep)
        registry.store.subscribe(_SCHEMAS, self._on_schema)
        registry.store.subscribe(_LEVELS, self._on_level)

    def _on_schema(self, event: Event) -> None:
        if event.type != "DELETED" and self._condition(event.record.obj) is not None:
            self._upkeep.ask(_TASK, event.record.key.name)

    def _on_level(self, event: Event) -> None:
        if event.type == "MODIFIED":
            return
        for record in self._registry.store.list(_SCHEMAS):
            if _level(record.obj) == event.record.key.name:
                self._upkeep.ask(_TASK, record.key.name)

    async def _keep(self, name: str) -> None:
        record = self._registry.store.get(StoreKey(_SCHEMAS, "", name))
        served = self._registry.catalog.of_storage(_SCHEMAS)
        if record is None or served is None:
            return
        condition = self._condition(record.obj)
        if condition is None:
            return
        options = WriteOptions(internal=True, subresource="status")

        def transform(schema: Obj) -> Obj:
            listed = (schema.get("status") or {}).get("conditions") or []
            others = [entry for entry in listed if entry.get("type") != "Dangling"]
            return {**schema, "status": {"conditions": [*others, condition]}}

        try:
            await self._registry.update(served, "", name, transform, options)
        except NotFound:
            return

    def _condition(self, schema: Obj) -> Obj | None:
        """The condition as it should be; nothing where it is so already."""
        level = _level(schema)
        found = self._registry.store.get(StoreKey(_LEVELS, "", level)) is not None
        moment = format_time(self._registry.clock.now())
        wanted = dangling(level, found=found, moment=moment)
        for entry in (schema.get("status") or {}).get("conditions") or ():
            if entry.get("type") == "Dangling" and entry.get("message") == wanted["message"]:
                return None
        return wanted


def _level(schema: Obj) -> str:
    reference = (schema.get("spec") or {}).get("priorityLevelConfiguration") or {}
    return str(reference.get("name") or "")
