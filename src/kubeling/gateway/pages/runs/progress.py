"""How far a run or a workflow is: the page, and the stream that keeps it up to date.

The stream knows what its browser shows and sends what has changed of that: pieces of the picture,
and the head's few lines. It opens with the difference to nothing, so a browser that comes back
after a break is right again at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.component import Context
from kubeling.gateway.drawing.picture import Picture, differences
from kubeling.gateway.pages.runs.drawing import Asked, asked_of, draw, rows_of
from kubeling.gateway.pages.runs.subject import (
    ArchivedSource,
    Concerns,
    RunSource,
    Source,
    Subject,
    WorkflowSource,
    find_archived,
)
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.gateway.steps.model import BAD, STATES
from kubeling.kube.objects import Obj, uid
from kubeling.kube.resources import Resource

__all__ = [
    "archived_page",
    "archived_stream",
    "run_page",
    "run_stream",
    "workflow_page",
    "workflow_stream",
]

_QUIET_SECONDS: Final = 0.2
_SHARE: Final = 8
"""Of the time, at most one part in so many goes into drawing for one browser."""
_TICK_SECONDS: Final = 2.0
_KEEP_ALIVE_SECONDS: Final = 20.0


async def run_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """How far a run of a pipeline is."""
    return await _page(views, RunSource(views, rest, request), request)


async def run_stream(views: Views, rest: RestClient, request: web.Request) -> web.StreamResponse:
    """What changes of it."""
    return await _stream(views, RunSource(views, rest, request), request)


async def workflow_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """How far a workflow is; one that is gone is looked for in the archive."""
    try:
        return await _page(views, WorkflowSource(views, rest, request), request)
    except web.HTTPNotFound as error:
        where, title = request.match_info["namespace"], request.match_info["name"]
        if (found := await find_archived(rest, where, title)) is None:
            raise
        raise web.HTTPFound(f"/pipelines/archived/{uid(found)}") from error


async def workflow_stream(
    views: Views, rest: RestClient, request: web.Request
) -> web.StreamResponse:
    """What changes of it."""
    return await _stream(views, WorkflowSource(views, rest, request), request)


async def archived_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """How far an archived workflow came."""
    return await _page(views, ArchivedSource(views, rest, request), request)


async def archived_stream(
    views: Views, rest: RestClient, request: web.Request
) -> web.StreamResponse:
    """It changes no more, but the picture's page asks."""
    return await _stream(views, ArchivedSource(views, rest, request), request)


async def _page(views: Views, source: Source, request: web.Request) -> web.Response:
    subject = await source.read()
    asked = asked_of(request)
    body, count = _body(views, subject, asked)
    return views.page(
        request,
        "progress.html",
        "/pipelines",
        subject.title,
        subject=subject,
        asked=asked,
        body=body,
        count=count,
        head=_head(views, subject),
        nothing=asked.way != "list" and asked.view.filters and not asked.view.found(subject.tree),
        states=[(s, subject.tree.tally()[s]) for s in STATES if subject.tree.tally()[s]],
    )


async def _stream(views: Views, source: Source, request: web.Request) -> web.StreamResponse:
    """``drawing``, ``rows`` and ``head`` when they are not what was sent last; then ``gone``."""
    subject = await source.read()
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    sender = _Sender(views, response, asked_of(request))
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        watching = source.watching(subject)
        async with contextlib.aclosing(_changes(views.context, watching, sender.ticks)) as news:
            began = time.perf_counter()
            await sender.send(subject, have=request.query.get("have", ""))
            async for changed in news:
                took = time.perf_counter() - began
                if not changed and (subject.final or not sender.ticks):
                    await response.write(b": still here\n\n")
                    continue
                await asyncio.sleep(max(_QUIET_SECONDS, took * _SHARE))
                began = time.perf_counter()
                try:
                    subject = await source.read()
                except (web.HTTPNotFound, Refused) as error:
                    if isinstance(error, Refused) and error.status != web.HTTPNotFound.status_code:
                        raise
                    await response.write(b"event: gone\ndata: deleted\n\n")
                    break
                await sender.send(subject)
    return response


class _Sender:
    """Knows what the browser shows."""

    def __init__(self, views: Views, response: web.StreamResponse, asked: Asked) -> None:
        self._views = views
        self._response = response
        self._asked = asked
        self._picture = Picture()
        self._said: dict[str, str] = {}

    @property
    def ticks(self) -> bool:
        """Whether the picture changes although nothing happens."""
        return self._asked.way == "timeline"

    async def send(self, subject: Subject, have: str = "") -> None:
        """Sends what is new; ``have`` names the picture that the page came with."""
        await self._say("head", {"html": _head(self._views, subject), "final": subject.final})
        tally = subject.tree.tally()
        await self._say("tally", {state: tally[state] for state in STATES if tally[state]})
        if self._asked.way == "list":
            body, count = _body(self._views, subject, self._asked)
            await self._say("rows", {"html": body, "count": count})
            return
        picture = draw(subject, self._asked, self._views.context.clock.now().timestamp())
        if have == picture.digest:
            self._picture = picture
        elif (changes := differences(self._picture, picture)) is not None:
            self._picture = picture
            await self._write("drawing", changes)

    async def _say(self, event: str, value: Any) -> None:
        text = msgspec.json.encode(value).decode()
        if self._said.get(event) != text:
            self._said[event] = text
            await self._write(event, value)

    async def _write(self, event: str, value: Any) -> None:
        data = msgspec.json.encode(value)
        await self._response.write(b"event: %b\ndata: %b\n\n" % (event.encode(), data))


async def _changes(
    context: Context, watching: Sequence[tuple[Resource, Concerns]], ticks: bool
) -> AsyncGenerator[bool, None]:
    """True after a change, False when there was none for a while."""
    changed = asyncio.Event()

    def note(concerns: Concerns, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        if obj is not None and concerns(obj):
            changed.set()

    handlers = [(resource, partial(note, concerns)) for resource, concerns in watching]
    for resource, handler in handlers:
        context.informers.of(resource).add_handler(handler)
    changed.clear()
    try:
        while True:
            try:
                async with asyncio.timeout(_TICK_SECONDS if ticks else _KEEP_ALIVE_SECONDS):
                    await changed.wait()
            except TimeoutError:
                yield False
                continue
            changed.clear()
            yield True
    finally:
        for resource, handler in handlers:
            context.informers.of(resource).remove_handler(handler)


def _head(views: Views, subject: Subject) -> str:
    template = views.templates.get_template(subject.head)
    bad = [step for step in subject.tree.leaves() if step.state in BAD][:3]
    return template.render(subject=subject, bad=bad, **subject.values)


def _body(views: Views, subject: Subject, asked: Asked) -> tuple[str, int]:
    if asked.way == "list":
        rows, count = rows_of(subject, asked)
        template = views.templates.get_template("steps_list.html")
        return template.render(rows=rows, count=count, asked=asked, subject=subject), count
    picture = draw(subject, asked, views.context.clock.now().timestamp())
    label = f"{asked.way.capitalize()} of {len(subject.tree)} steps"
    return picture.draw(f"picture {asked.way}", label), len(subject.tree)
