"""Where the API is mounted: upstream's paths.

The services are loaded at the first request that needs them. Artifacts of Kubeflow Pipelines have
addresses of a similar shape that begin with the kind of a store; those are not ours.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from kubeling.component import Context
from kubeling.workflows.api.wire import Endpoint, handler

__all__ = ["routes"]

_SERVICES: Final = {
    "actions": "ActionService",
    "archived": "ArchivedService",
    "artifacts": "ArtifactService",
    "definitions:cluster": "ClusterTemplateService",
    "definitions:cron": "CronService",
    "definitions:template": "TemplateService",
    "info": "InfoService",
    "sync": "SyncService",
    "watching": "WatchService",
    "workflows": "WorkflowService",
}
_WORKFLOW: Final = "/workflows/{namespace}/{name}"
_TEMPLATES: Final = "/workflow-templates/{namespace}"
_CLUSTER: Final = "/cluster-workflow-templates"
_CRONS: Final = "/cron-workflows/{namespace}"
_ARCHIVED: Final = "/archived-workflows"
# Method, path below /api/v1, service, its method.
_TABLE: Final = (
    ("GET", "/workflows/{namespace}", "workflows", "list"),
    ("GET", "/workflows/", "workflows", "list"),
    ("GET", "/workflows", "workflows", "list"),
    ("POST", "/workflows/{namespace}", "workflows", "create"),
    ("POST", "/workflows/{namespace}/lint", "workflows", "lint"),
    ("POST", "/workflows/{namespace}/submit", "workflows", "submit"),
    ("GET", _WORKFLOW, "workflows", "get"),
    ("DELETE", _WORKFLOW, "workflows", "delete"),
    ("PUT", f"{_WORKFLOW}/retry", "actions", "retry"),
    ("PUT", f"{_WORKFLOW}/resubmit", "actions", "resubmit"),
    ("PUT", f"{_WORKFLOW}/resume", "actions", "resume"),
    ("PUT", f"{_WORKFLOW}/suspend", "actions", "suspend"),
    ("PUT", f"{_WORKFLOW}/stop", "actions", "stop"),
    ("PUT", f"{_WORKFLOW}/terminate", "actions", "terminate"),
    ("PUT", f"{_WORKFLOW}/set", "actions", "set"),
    ("GET", f"{_WORKFLOW}/log", "watching", "log"),
    ("GET", f"{_WORKFLOW}/{{pod}}/log", "watching", "log"),
    ("GET", "/workflow-events/{namespace}", "watching", "workflow_events"),
    ("GET", "/workflow-events/", "watching", "workflow_events"),
    ("GET", "/stream/events/{namespace}", "watching", "events"),
    ("GET", "/stream/events/", "watching", "events"),
    ("GET", _ARCHIVED, "archived", "list"),
    ("GET", "/archived-workflows-label-keys", "archived", "label_keys"),
    ("GET", "/archived-workflows-label-values", "archived", "label_values"),
    ("GET", f"{_ARCHIVED}/{{uid}}", "archived", "get"),
    ("DELETE", f"{_ARCHIVED}/{{uid}}", "archived", "delete"),
    ("PUT", f"{_ARCHIVED}/{{uid}}/retry", "archived", "retry"),
    ("PUT", f"{_ARCHIVED}/{{uid}}/resubmit", "archived", "resubmit"),
    ("GET", _CRONS, "definitions:cron", "list"),
    ("GET", "/cron-workflows/", "definitions:cron", "list"),
    ("POST", _CRONS, "definitions:cron", "create"),
    ("POST", f"{_CRONS}/lint", "definitions:cron", "lint"),
    ("GET", f"{_CRONS}/{{name}}", "definitions:cron", "get"),
    ("PUT", f"{_CRONS}/{{name}}", "definitions:cron", "update"),
    ("DELETE", f"{_CRONS}/{{name}}", "definitions:cron", "delete"),
    ("PUT", f"{_CRONS}/{{name}}/suspend", "definitions:cron", "suspend"),
    ("PUT", f"{_CRONS}/{{name}}/resume", "definitions:cron", "resume"),
    ("GET", _TEMPLATES, "definitions:template", "list"),
    ("GET", "/workflow-templates/", "definitions:template", "list"),
    ("POST", _TEMPLATES, "definitions:template", "create"),
    ("POST", f"{_TEMPLATES}/lint", "definitions:template", "lint"),
    ("GET", f"{_TEMPLATES}/{{name}}", "definitions:template", "get"),
    ("PUT", f"{_TEMPLATES}/{{name}}", "definitions:template", "update"),
    ("DELETE", f"{_TEMPLATES}/{{name}}", "definitions:template", "delete"),
    ("GET", _CLUSTER, "definitions:cluster", "list"),
    ("POST", _CLUSTER, "definitions:cluster", "create"),
    ("POST", f"{_CLUSTER}/lint", "definitions:cluster", "lint"),
    ("GET", f"{_CLUSTER}/{{name}}", "definitions:cluster", "get"),
    ("PUT", f"{_CLUSTER}/{{name}}", "definitions:cluster", "update"),
    ("DELETE", f"{_CLUSTER}/{{name}}", "definitions:cluster", "delete"),
    ("POST", "/sync/{namespace}", "sync", "create"),
    ("GET", "/sync/{namespace}/{key}", "sync", "get"),
    ("PUT", "/sync/{namespace}/{key}", "sync", "update"),
    ("DELETE", "/sync/{namespace}/{key}", "sync", "delete"),
    ("GET", "/info", "info", "info"),
    ("GET", "/userinfo", "info", "user"),
    ("GET", "/version", "info", "version"),
    ("POST", "/tracking/event", "info", "track"),
)
_NODE: Final = "/{name}/{node}/{artifact}"
_OURS: Final = "{namespace:(?!(?:gcs|minio|s3|http|https|volume)/)[^/]+}"
_FILES: Final = (
    "/artifact-files/{namespace}/{discriminator}/{id}/{node}/{direction}/{artifact}{path:(/.*)?}"
)
_ARTIFACTS: Final = (
    (f"/artifacts/{_OURS}{_NODE}", "output"),
    (f"/input-artifacts/{{namespace}}{_NODE}", "input"),
    ("/artifacts-by-uid/{uid}/{node}/{artifact}", "output_by_uid"),
    ("/input-artifacts-by-uid/{uid}/{node}/{artifact}", "input_by_uid"),
    (_FILES, "file"),
)


def routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    """All routes of the API."""
    services = _Services(context)
    found: list[web.AbstractRouteDef] = [
        web.route(method, f"/api/v1{path}", handler(services.endpoint(service, name)))
        for method, path, service, name in _TABLE
    ]
    found += [
        web.get(path, handler(services.endpoint("artifacts", name))) for path, name in _ARTIFACTS
    ]
    return found


class _Services:
    """The services, each made when it is first asked for."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._made: dict[str, Any] = {}

    def endpoint(self, service: str, name: str) -> Endpoint:
        """One method of a service."""

        async def call(request: web.Request) -> Any:
            found = self._made.get(service) or await self._make(service)
            return await getattr(found, name)(request)

        return call

    async def _make(self, service: str) -> Any:
        module = f"kubeling.workflows.api.{service.partition(':')[0]}"
        loaded = await asyncio.to_thread(importlib.import_module, module)
        made = getattr(loaded, _SERVICES[service])(self._context)
        return self._made.setdefault(service, made)
