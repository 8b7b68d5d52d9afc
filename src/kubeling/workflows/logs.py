"""What the pods of a Workflow wrote, line by line, and what it did without pods.

Upstream: ``util/logs/workflow-logger.go``. Logs that are complete are merged by time, one line of
each pod in memory; logs that are followed come as they are written, pods that start later
included, until the Workflow has ended. What errands said stands in the nodes
(:mod:`kubeling.workflows.errandlog`); theirs are the names that their pods would have.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, parse_time, uid
from kubeling.kube.resources import PODS
from kubeling.kube.transport import Request
from kubeling.workflows.containers import MAIN
from kubeling.workflows.errandlog import errand_lines
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.pods import LABEL_WORKFLOW
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["LogLine", "LogQuery", "workflow_logs"]

_FINAL: Final = ("Succeeded", "Failed", "Error")
_QUEUE: Final = 1024
_LONGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which pods' logs, and what of them (``PodLogOptions``)."""

    pod_name: str = ""
    selector: str = ""
    grep: str = ""
    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class LogLine:
    """One line, and when it was written (as the log has it, which sorts as text)."""

    time: str
    pod: str
    content: str


Hydrate = Callable[[Obj], Awaitable[Obj]]
"""Gives a Workflow all its nodes, wherever they are kept."""


async def workflow_logs(
    client: Client, where: str, wanted: str, query: LogQuery, hydrate: Hydrate
) -> AsyncGenerator[LogLine, None]:
    """Yields the lines; raises ``NotFound`` where there is no such Workflow."""
    matches = _pattern(query.grep)
    workflow = await client.get(WORKFLOWS, wanted, where)
    source = _Source(client, where, workflow, query, hydrate)
    lines = source.followed() if query.follow else source.merged()
    async with contextlib.aclosing(lines):
        async for line in lines:
            if matches(line.content):
                yield (
                    replace(line, content=f"{line.time} {line.content}")
                    if (query.timestamps)
                    else line
                )


def _pattern(grep: str) -> Callable[[str], bool]:
    """RE2's syntax, as upstream's: no pattern takes more than linear time."""
    if not grep:
        return lambda text: True
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(grep, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args else ""
        raise OperationRefused(f'failed to compile "{grep}": {reason}') from None
    return lambda text: pattern.search(text) is not None


class _Source:
    """The pods of one Workflow."""

    def __init__(
        self, client: Client, where: str, workflow: Obj, query: LogQuery, hydrate: Hydrate
    ) -> None:
        self._client = client
        self._hydrate = hydrate
        self._told: dict[str, int] = {}
        self._where = where
        self._workflow = workflow
        self._query = query
        own = f"{LABEL_WORKFLOW}={name(workflow)}"
        self._labels = f"{own},{query.selector}" if query.selector else own
        self._fields = f"metadata.name={query.pod_name}" if query.pod_name else ""

    async def merged(self) -> AsyncGenerator[LogLine, None]:
        """All there is now, by time."""
        found = await self._client.list(PODS, self._where, labels=self._labels, fields=self._fields)
        async with contextlib.AsyncExitStack() as stack:
            heads: list[tuple[LogLine, int]] = []
            streams: list[AsyncGenerator[LogLine, None]] = []
            sources = [self._lines(pod) for pod in found.items if _has_started(pod)]
            for number, stream in enumerate([*sources, self._of_errands(self._workflow)]):
                streams.append(await stack.enter_async_context(contextlib.aclosing(stream)))
                if (line := await anext(stream, None)) is not None:
                    heads.append((line, number))
            while heads:
                line, number = min(heads)
                heads.remove((line, number))
                yield line
                if (following := await anext(streams[number], None)) is not None:
                    heads.append((following, number))

    async def followed(self) -> AsyncGenerator[LogLine, None]:
        """What comes, until the Workflow has ended and its pods' logs with it."""
        queue: asyncio.Queue[LogLine | None] = asyncio.Queue(_QUEUE)
        following = asyncio.create_task(self._follow(queue))
        try:
            while (line := await queue.get()) is not None:
                yield line
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, queue: asyncio.Queue[LogLine | None]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                known: set[str] = set()
                watching = group.create_task(self._watch(group, known, queue))
                await self._ended(queue)
                watching.cancel()
                found = await self._client.list(
                    PODS, self._where, labels=self._labels, fields=self._fields
                )
                for pod in found.items:
                    self._begin(group, known, pod, queue)
        except asyncio.CancelledError:
            # Whoever read is gone, and nobody makes room in a full queue.
            raise
        except BaseException:
            await queue.put(None)
            raise
        await queue.put(None)

    async def _watch(
        self, group: asyncio.TaskGroup, known: set[str], queue: asyncio.Queue[LogLine | None]
    ) -> None:
        while True:
            events = self._client.watch(PODS, self._where, labels=self._labels, fields=self._fields)
            async for event in events:
                self._begin(group, known, event.object, queue)

    def _begin(
        self,
        group: asyncio.TaskGroup,
        known: set[str],
        pod: Obj,
        queue: asyncio.Queue[LogLine | None],
    ) -> None:
        if _has_started(pod) and uid(pod) not in known:
            known.add(uid(pod))
            group.create_task(self._copy(pod, queue))

    async def _copy(self, pod: Obj, queue: asyncio.Queue[LogLine | None]) -> None:
        async for line in self._lines(pod):
            await queue.put(line)

    async def _ended(self, queue: asyncio.Queue[LogLine | None]) -> None:
        """Waits for the Workflow's end; what errands say meanwhile goes into the queue."""
        only = f"metadata.name={name(self._workflow)}"
        while True:
            async for event in self._client.watch(WORKFLOWS, self._where, fields=only):
                if event.type in ("ADDED", "MODIFIED"):
                    async for line in self._of_errands(event.object):
                        await queue.put(line)
                phase = (event.object.get("status") or {}).get("phase")
                if event.type == "DELETED" or phase in _FINAL:
                    return

    async def _of_errands(self, workflow: Obj) -> AsyncGenerator[LogLine, None]:
        """The lines of errands that have not been told yet, by time."""
        query = self._query
        if query.selector or query.previous or query.container not in ("", MAIN):
            return
        full = await self._hydrate(workflow)
        news: list[LogLine] = []
        for key, node in ((full.get("status") or {}).get("nodes") or {}).items():
            if not (lines := errand_lines(node)):
                continue
            own = pod_name(name(workflow), node.get("name", ""), node.get("templateName", ""))
            if query.pod_name in ("", own):
                new = lines[self._told.get(key, 0) :]
                self._told[key] = len(lines)
                news += [LogLine(time, own, text) for time, text in self._wanted(new)]
        for line in sorted(news):
            yield line

    def _wanted(self, lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that are new enough, and of these the last so many."""
        query = self._query
        since = parse_time(query.since_time) if query.since_time else None
        if query.since_seconds is not None:
            since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=query.since_seconds)
        if since is not None:
            lines = [line for line in lines if parse_time(line[0]) >= since]
        return lines if query.tail_lines is None else lines[max(0, len(lines) - query.tail_lines) :]

    async def _lines(self, pod: Obj) -> AsyncGenerator[LogLine, None]:
        """The lines of one pod; one whose log cannot be had has none, as upstream does."""
        request = Request("GET", PODS.path(self._where, name(pod), "log"), self._options(pod))
        pending = b""
        stream = self._client.transport.stream(request)
        with contextlib.suppress(ApiError):
            async for chunk in stream:
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    yield _line(name(pod), line)
                if len(pending) > _LONGEST:
                    yield _line(name(pod), pending)
                    pending = b""
        if pending:
            yield _line(name(pod), pending)

    def _options(self, pod: Obj) -> dict[str, str]:
        query = self._query
        options = {"timestamps": "true"}
        names = [container["name"] for container in pod["spec"]["containers"]]
        if query.container:
            options["container"] = query.container
        elif len(names) > 1:
            options["container"] = MAIN if MAIN in names else names[0]
        for key, wanted in (("follow", query.follow), ("previous", query.previous)):
            if wanted:
                options[key] = "true"
        for key, number in (
            ("tailLines", query.tail_lines),
            ("sinceSeconds", query.since_seconds),
            ("limitBytes", query.limit_bytes),
        ):
            if number is not None:
                options[key] = str(number)
        if query.since_time:
            options["sinceTime"] = query.since_time
        return options


def _has_started(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") not in (None, "", "Pending")


def _line(pod: str, line: bytes) -> LogLine:
    time, _, content = line.decode(errors="replace").partition(" ")
    return LogLine(time, pod, content)
