"""Where the API is mounted: upstream's paths, behind any prefix a proxy may put before them.

The services, and with them the database, are loaded at the first request that needs them.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from kubeling import __version__
from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.access import Access
from kubeling.pipelines.api.auth import authorize
from kubeling.pipelines.api.metrics import counted, declare_metrics
from kubeling.pipelines.api.unoffered import UNOFFERED, refusal
from kubeling.pipelines.api.wire import Handler, handler, query_of, stream_handler, upload_handler

__all__ = ["routes"]

_PREFIXES: Final = ("", "/{prefix:.+}")
_SERVICES: Final = {
    "pipelines": "PipelineService",
    "versions": "VersionService",
    "experiments": "ExperimentService",
    "runs": "RunService",
    "recurring_runs": "RecurringRunService",
    "artifacts": "ArtifactService",
    "tasks": "TaskService",
    "node_files": "NodeFileService",
    "collections": "CollectionService",
    "ui_server": "UiService",
    "steps": "StepService",
}
_UPLOADS: Final = {
    ("pipelines", "upload"): "upload pipeline",
    ("versions", "upload"): "upload pipeline version",
}
# Method, path below /apis/v2beta1, service, its method.
_TABLE: Final = (
    ("GET", "/experiments", "experiments", "list"),
    ("POST", "/experiments", "experiments", "create"),
    ("GET", "/experiments/{experiment}", "experiments", "get"),
    ("DELETE", "/experiments/{experiment}", "experiments", "delete"),
    ("POST", "/experiments/{experiment}:archive", "experiments", "archive"),
    ("POST", "/experiments/{experiment}:unarchive", "experiments", "unarchive"),
    ("GET", "/pipelines", "pipelines", "list"),
    ("POST", "/pipelines", "pipelines", "create"),
    ("POST", "/pipelines/create", "pipelines", "create_with_version"),
    ("POST", "/pipelines/upload", "pipelines", "upload"),
    ("POST", "/pipelines/upload_version", "versions", "upload"),
    ("GET", "/pipelines/names/{name}", "pipelines", "get_by_name"),
    ("GET", "/pipelines/{pipeline}", "pipelines", "get"),
    ("PATCH", "/pipelines/{pipeline}", "pipelines", "update"),
    ("DELETE", "/pipelines/{pipeline}", "pipelines", "delete"),
    ("GET", "/pipelines/{pipeline}/versions", "versions", "list"),
    ("POST", "/pipelines/{pipeline}/versions", "versions", "create"),
    ("GET", "/pipelines/{pipeline}/versions/{version}", "versions", "get"),
    ("PATCH", "/pipelines/{pipeline}/versions/{version}", "versions", "update"),
    ("DELETE", "/pipelines/{pipeline}/versions/{version}", "versions", "delete"),
    ("GET", "/runs", "runs", "list"),
    ("POST", "/runs", "runs", "create"),
    ("POST", "/runs:collect", "collections", "collect"),
    ("GET", "/runs/{run}", "runs", "get"),
    ("DELETE", "/runs/{run}", "runs", "delete"),
    ("GET", "/runs/{run}/steps", "steps", "list"),
    ("POST", "/runs/{run}:archive", "runs", "archive"),
    ("POST", "/runs/{run}:unarchive", "runs", "unarchive"),
    ("POST", "/runs/{run}:terminate", "runs", "terminate"),
    ("POST", "/runs/{run}:retry", "runs", "retry"),
    ("GET", "/recurringruns", "recurring_runs", "list"),
    ("POST", "/recurringruns", "recurring_runs", "create"),
    ("GET", "/recurringruns/{job}", "recurring_runs", "get"),
    ("DELETE", "/recurringruns/{job}", "recurring_runs", "delete"),
    ("POST", "/recurringruns/{job}:enable", "recurring_runs", "enable"),
    ("POST", "/recurringruns/{job}:disable", "recurring_runs", "disable"),
    ("GET", "/artifacts", "artifacts", "list"),
    ("GET", "/artifacts/{artifact}", "artifacts", "get"),
    ("POST", "/artifacts", "artifacts", "create"),
    ("PUT", "/artifacts/{artifact}/content", "artifacts", "upload"),
    ("GET", "/artifacts/{artifact}/preview", "artifacts", "preview"),
    ("GET", "/artifact_tasks", "artifacts", "list_artifact_tasks"),
    ("POST", "/artifact_tasks", "artifacts", "create_artifact_task"),
    ("GET", "/tasks", "tasks", "list"),
    ("POST", "/tasks", "tasks", "create"),
    ("GET", "/tasks/{task}", "tasks", "get"),
    ("POST", "/tasks/{task}:forgetCached", "tasks", "forget_cached"),
    ("PATCH", "/tasks/{task}", "tasks", "update"),
)


# Method, path, service, its method; these answer with streams of their own.
_STREAMS: Final = (
    ("GET", "/apis/v2beta1/artifacts/{artifact}/content", "artifacts", "content"),
    (
        "GET",
        "/apis/v2beta1/runs/{run}/nodes/{node}/artifacts/{name}:read",
        "node_files",
        "artifact",
    ),
    ("GET", "/apis/v2beta1/runs/{run}/nodes/{node}/log", "node_files", "log"),
    ("GET", "/apis/v1alpha1/runs/{run}/nodes/{node}/log", "node_files", "log"),
    ("GET", "/apis/v2beta1/runs/{run}/log", "node_files", "run_log"),
)
# Upstream's UI server, at its own root and at its base path.
_UI: Final = (
    ("GET", "/artifacts/get", "ui_server", "artifact"),
    ("GET", "/artifacts/{source}/{bucket}/{key:.+}", "ui_server", "download"),
    ("GET", "/k8s/pod", "ui_server", "pod"),
    ("GET", "/k8s/pod/events", "ui_server", "events"),
    ("GET", "/k8s/pod/logs", "ui_server", "log"),
    ("GET", "/system/cluster-name", "ui_server", "cluster"),
    ("GET", "/system/project-id", "ui_server", "cluster"),
    ("*", "/apps/tensorboard", "ui_server", "tensorboard"),
    ("GET", "/visualizations/allowed", "ui_server", "may_run_code"),
)
_UI_PREFIXES: Final = ("", "/pipeline")


def routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    """All routes of the API."""
    services = _Services(context)
    found: list[web.AbstractRouteDef] = []
    for prefix in _PREFIXES:
        root = f"{prefix}/apis/v2beta1"
        found.append(web.get(f"{root}/healthz", handler(services.healthz)))
        found.append(web.get(f"{prefix}/apis/v1beta1/healthz", handler(services.healthz)))
        found.append(web.get(f"{root}/auth", handler(services.authorize)))
        found.append(web.get(f"{root}/filters", handler(services.filter)))
        for method, path, service, name in _TABLE:
            found.append(web.route(method, root + path, services.endpoint(service, name)))
        for method, path, service, name in _STREAMS:
            found.append(web.route(method, prefix + path, services.stream(service, name)))
        for method, path, reason in UNOFFERED:
            found.append(web.route(method, prefix + path, _unoffered(reason)))
    for prefix in _UI_PREFIXES:
        for method, path, service, name in _UI:
            found.append(web.route(method, prefix + path, services.stream(service, name)))
    return found


def _unoffered(reason: str) -> Handler:
    async def refuse(request: web.Request) -> Obj:
        raise refusal(request, reason)

    return handler(refuse)


class _Services:
    """The services, each made when it is first asked for."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._made: dict[str, Any] = {}
        self._access = Access(context)
        declare_metrics(context.metrics)

    async def healthz(self, request: web.Request) -> Obj:
        """What clients learn the platform's kind from."""
        found: Obj = {
            "commit_sha": "unknown",
            "tag_name": __version__,
            "multi_user": self._access.multi_user,
        }
        if "/v1beta1/" not in request.path:
            found["pipeline_store"] = "database"
        return found

    async def authorize(self, request: web.Request) -> Obj:
        """Whether who asks may do something."""
        return await authorize(self._access, request)

    async def filter(self, request: web.Request) -> Obj:
        """A filter as the lists understand it; the module that reads it is loaded on first use."""
        module = await asyncio.to_thread(importlib.import_module, "kubeling.pipelines.api.filters")
        found: Obj = module.checked_filter(query_of(request, "filter"))
        return found

    def endpoint(self, service: str, name: str) -> Any:
        """The handler of one endpoint."""

        async def call(request: web.Request) -> Obj:
            found = self._made.get(service) or await self._make(service)
            with counted(self._context.metrics, service, name):
                message: Obj = await getattr(found, name)(request)
            return message

        what = _UPLOADS.get((service, name))
        return handler(call) if what is None else upload_handler(call, what)

    def stream(self, service: str, name: str) -> Handler:
        """The handler of an endpoint that answers with a stream."""

        async def call(request: web.Request) -> web.StreamResponse:
            found = self._made.get(service) or await self._make(service)
            response: web.StreamResponse = await getattr(found, name)(request)
            return response

        return stream_handler(call)

    async def _make(self, service: str) -> Any:
        database = await self._context.open_database()
        module = await asyncio.to_thread(
            importlib.import_module, f"kubeling.pipelines.api.{service}"
        )
        made = getattr(module, _SERVICES[service])(self._context, database)
        return self._made.setdefault(service, made)
