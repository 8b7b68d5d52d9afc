"""Streams: changes of Workflows, events, and logs.

Upstream: ``WatchWorkflows``, ``WatchEvents``, ``WorkflowLogs`` and ``PodLogs``. hera and other
callers of ``requests`` and ``httpx`` read one JSON document, which upstream's lines are only where
there is a single one; so whoever asks with such a library, and not to follow, gets one entry with
all the text, spelled both as the stream's result and as the entry itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.kube.resources import EVENTS, PODS
from kubeling.workflows.api.fields import Fields
from kubeling.workflows.api.wire import answer, options_of, query_of, stream
from kubeling.workflows.api.workflows import ListOptions, WorkflowService
from kubeling.workflows.logs import LogQuery, workflow_logs
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["WatchService"]

_ONE_DOCUMENT: Final = ("python-requests/", "python-httpx/")
_NAME: Final = ("metadata.name==", "metadata.name=")


class _LogOptions(msgspec.Struct, rename="camel"):
    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    limit_bytes: int | None = None
    since_time: str = ""
    since_time_seconds: int | None = msgspec.field(default=None, name="sinceTime.seconds")


class WatchService(WorkflowService):
    """Answers that go on until somebody has enough."""

    async def workflow_events(self, request: web.Request) -> web.StreamResponse:
        """Changes of Workflows, those there are first."""
        where = request.match_info.get("namespace", "")
        await self.allow(request, "watch", WORKFLOWS, where)
        options = options_of(request, "listOptions", ListOptions)
        fields = Fields.parse(query_of(request, "fields"))
        selector = await self._resolved(where, options.field_selector)
        return await stream(request, self._changes(where, options, selector, fields))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Kubernetes' events."""
        where = request.match_info.get("namespace", "")
        await self.allow(request, "watch", EVENTS, where)
        options = options_of(request, "listOptions", ListOptions)
        return await stream(request, self._events(where, options))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """What the pods of a Workflow, or one of them, wrote."""
        where = request.match_info["namespace"]
        workflow = await self.found(request)
        await self.allow(request, "get", PODS, where)
        options = options_of(request, "logOptions", _LogOptions)
        lines = self._entries(where, workflow["metadata"]["name"], _query(request, options))
        agent = request.headers.get("User-Agent", "")
        if agent.startswith(_ONE_DOCUMENT) and not options.follow:
            return answer(await _one_entry(lines))
        return await stream(request, lines)

    async def _changes(
        self, where: str, options: ListOptions, selector: str, fields: Fields
    ) -> AsyncGenerator[Obj, None]:
        version = "" if options.resource_version == "0" else options.resource_version
        events = self.client.watch(
            WORKFLOWS,
            where,
            resource_version=version,
            labels=options.label_selector,
            fields=selector,
        )
        async for event in events:
            if event.type == "BOOKMARK":
                continue
            changed = event.object
            if fields.keeps("status.nodes") and event.type != "DELETED":
                changed = await self.offload.hydrated(changed)
            yield {"type": event.type, "object": fields.workflow(changed)}

    async def _events(self, where: str, options: ListOptions) -> AsyncGenerator[Obj, None]:
        events = self.client.watch(
            EVENTS,
            where,
            resource_version=options.resource_version,
            labels=options.label_selector,
            fields=options.field_selector,
        )
        async for event in events:
            yield event.object

    async def _entries(self, where: str, wanted: str, query: LogQuery) -> AsyncGenerator[Obj, None]:
        async for line in workflow_logs(self.client, where, wanted, query, self.offload.hydrated):
            yield {"content": line.content, "podName": line.pod}

    async def _resolved(self, where: str, selector: str) -> str:
        """The selector with ``@latest`` as the name it stands for."""
        for prefix in _NAME:
            if selector == f"{prefix}@latest":
                latest = await self._latest(where)
                return f"metadata.name={latest['metadata']['name']}"
        return selector


def _query(request: web.Request, options: _LogOptions) -> LogQuery:
    since = options.since_time
    if options.since_time_seconds is not None:
        moment = dt.datetime.fromtimestamp(options.since_time_seconds, dt.UTC)
        since = moment.isoformat().replace("+00:00", "Z")
    return LogQuery(
        pod_name=request.match_info.get("pod", "") or query_of(request, "podName"),
        selector=query_of(request, "selector"),
        grep=query_of(request, "grep"),
        container=options.container,
        follow=options.follow,
        previous=options.previous,
        timestamps=options.timestamps,
        tail_lines=options.tail_lines,
        since_seconds=options.since_seconds,
        since_time=since,
        limit_bytes=options.limit_bytes,
    )


async def _one_entry(entries: AsyncGenerator[Obj, None]) -> Any:
    found = [entry async for entry in entries]
    pods = {entry["podName"] for entry in found}
    text = "\n".join(entry["content"] for entry in found)
    one = {"content": text, "podName": pods.pop() if len(pods) == 1 else ""}
    return {"result": one, **one}
