"""Collecting runs on demand: what ``kubeling pipelines gc`` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.service import PLATFORM, Service
from kubeling.pipelines.api.wire import body_of, compact, wire_time
from kubeling.pipelines.collector import Collection, Collector
from kubeling.pipelines.retention import Victim
from kubeling.pipelines.settings import Retention

__all__ = ["CollectionService"]

_REQUEST: Final = {"dry_run": bool, "policies": object, "collect_artifacts": bool}
_SHOWN: Final = 1000


class CollectionService(Service):
    """One pass of garbage collection, of the settings' policies or of those in the request."""

    resource = "runs"

    async def collect(self, request: web.Request) -> Obj:
        await self.allow(request, "delete", PLATFORM)
        body = await body_of(request, _REQUEST)
        settings = self.access.settings
        policies = _policies(body.get("policies")) or settings.policies
        collector = Collector(
            self.context,
            self.database,
            settings,
            files=body.get("collect_artifacts", settings.collect_artifacts),
        )
        dry_run = bool(body.get("dry_run"))
        found = await (collector.plan if dry_run else collector.collect)(policies)
        return {"dry_run": dry_run, "policies": len(policies), **_message(found)}


def _policies(given: Any) -> tuple[Retention, ...]:
    try:
        return msgspec.convert(given or (), tuple[Retention, ...])
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"policies: {error}") from None


def _message(found: Collection) -> Obj:
    return {
        "archived": len(found.archived),
        "deleted": len(found.deleted),
        "artifacts": found.artifacts,
        "bytes": str(found.bytes),
        "pods": found.pods,
        "kept_files": found.kept_files,
        "archived_runs": _runs(found.archived),
        "deleted_runs": _runs(found.deleted),
    }


def _runs(found: Sequence[Victim]) -> list[Obj]:
    return [
        compact(
            run_id=victim.run_id,
            namespace=victim.namespace,
            display_name=victim.display_name,
            state=victim.state,
            finished_at=wire_time(victim.finished_at),
        )
        for victim in found[:_SHOWN]
    ]
