"""What every page needs: the caches, the templates, and the frame around the page.

Pages read the API through shared informers, so a view costs no request; a page asked for with the
header ``HX-Request`` is only its live region, which the browser fetches again when the event stream
says that something it shows has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from kubeling import __version__
from kubeling.component import Context
from kubeling.gateway.kinds import RUNS, SECTIONS, Section, link_to
from kubeling.gateway.states import age, elapsed, state_of
from kubeling.kube.advice import advice
from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

__all__ = ["Views", "short"]

_PATIENCE_SECONDS = 2.0
_LONG_NUMBER = 8
_BRIEF = 10
_TEMPLATES = Path(__file__).parent.parent / "templates"


class Views:
    """Renders pages for one platform."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._waited_for: set[Resource] = set()

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates; Jinja is imported when the first page is shown."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(
            sections=SECTIONS,
            version=__version__,
            link=self.link,
            name=name,
            namespace=namespace,
            state=state_of,
            age=lambda obj: age(obj, self.context.clock.now()),
            elapsed=lambda since, until=None: elapsed(since, until or self.context.clock.now()),
        )
        environment.globals.update(
            lines=_lines, advice=advice, clock=_clock, moment=_moment, took=self._took, ended=_ended
        )
        environment.filters["short"] = short
        return environment

    def _took(self, started: float | None, finished: float | None) -> str:
        """How long a step took, or has taken so far."""
        if started is None:
            return ""
        seconds = (finished or self.context.clock.now().timestamp()) - started
        return f"{round(seconds, 1):g}s" if 0 <= seconds < _BRIEF else human_duration(seconds)

    async def objects(self, *resources: Resource) -> list[Obj]:
        """All objects of the kinds, newest first."""
        await self._filled(resources)
        found = [obj for r in resources for obj in self.context.informers.of(r).list()]
        found.sort(key=lambda o: str(o["metadata"].get("creationTimestamp", "")), reverse=True)
        return found

    async def _filled(self, resources: Sequence[Resource]) -> None:
        """Waits for the caches, but once only for a kind that this API server does not have."""
        informers = self.context.informers
        empty = {r for r in resources if not informers.of(r).synced}
        if not empty - self._waited_for:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await informers.synced(*empty)
        self._waited_for |= empty

    def _is_missing(self, resource: Resource) -> bool:
        """Whether it is known that the API server does not list a kind; not yet is not never."""
        informer = self.context.informers.of(resource)
        return not informer.available and (informer.synced or resource in self._waited_for)

    async def object(self, resource: Resource, request: web.Request) -> Obj:
        """The object a path's ``namespace`` and ``name`` mean; 404 if there is none."""
        await self._filled((resource,))
        where = request.match_info.get("namespace", "")
        found = self.context.informers.of(resource).get(
            "" if where == "-" else where, request.match_info["name"]
        )
        if found is None:
            inside = "" if where in ("", "-") else f" in namespace {where}"
            text = f"There is no {resource.kind} {request.match_info['name']}{inside}."
            raise web.HTTPNotFound(text=text)
        return found

    @staticmethod
    def link(obj: Obj) -> str:
        """The page of an object; a run's is that of its steps."""
        if (obj["apiVersion"], obj["kind"]) == (RUNS.api_version, RUNS.kind) and uid(obj):
            return f"/pipelines/runs/{uid(obj)}"
        return link_to(obj["apiVersion"], obj["kind"], namespace(obj), name(obj))

    def page(
        self,
        request: web.Request,
        template: str,
        section: Section | str,
        title: str,
        watching: Sequence[Resource] = (),
        status: int = 200,
        stream: str = "",
        **values: Any,
    ) -> web.Response:
        """The page, or only its live region when htmx asks for that.

        ``stream`` is where the page hears of changes, if not of any object of what it watches.
        """
        path = section if isinstance(section, str) else section.path
        live = ",".join(resource.qualified for resource in watching)
        frame = "partial.html" if "HX-Request" in request.headers else "page.html"
        text = self.templates.get_template(template).render(
            frame=frame,
            current=path,
            title=title,
            stream=stream or (f"/live?kinds={live}" if live else ""),
            missing=[r.qualified for r in watching if self._is_missing(r)],
            url=_address(request),
            settings=self.context.settings,
            **values,
        )
        headers = {
            "Cache-Control": "no-store",
            "Vary": "HX-Request",
            # No other site may lay our buttons under its own.
            "Content-Security-Policy": "frame-ancestors 'self'",
        }
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def _address(request: web.Request) -> str:
    """Where the page is to be had again: of what a form sent, where the form was."""
    if request.method == "GET":
        return str(request.rel_url)
    before = urlsplit(request.headers.get("Referer", ""))
    return f"{before.path}?{before.query}".rstrip("?") or "/"


def _lines(text: str) -> list[str]:
    """A message's lines; the last one of a program's says most."""
    return [line for line in text.splitlines() if line.strip()] or [""]


def _clock(moment: str, dated: bool = False) -> Markup | str:
    """A moment by the clock of whoever looks; ``dated`` with its day even if that is today."""
    if not moment:
        return ""
    from markupsafe import Markup

    how = "dated" if dated else ""
    return Markup('<time datetime="{0}" data-clock="{1}">{0}</time>').format(moment, how)


def _moment(seconds: float | None) -> Markup | str:
    """As :func:`_clock`, of seconds since 1970."""
    if seconds is None:
        return ""
    return _clock(dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds"))


def _ended(run: Mapping[str, Any]) -> bool:
    """Whether a run of the pipelines API has ended; unset times are of 1970 there."""
    return str(run.get("finished_at") or "1970") > "1971"


def short(value: object) -> str:
    """A number as a person reads it, to six digits; other text as it is."""
    text = "" if value is None else str(value)
    try:
        return f"{float(text):.6g}" if len(text) > _LONG_NUMBER else text
    except ValueError:
        return text
