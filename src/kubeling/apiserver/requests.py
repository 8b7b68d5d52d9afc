"""Requests and answers as the server's handlers see them, whichever way they came.

The same handler serves the in-process transport and HTTPS. A body travels as text or, in process,
as the JSON value itself; an answer carries objects, and who sends it decides how to write them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from kubeling.apiserver.listing import Changes
from kubeling.apiserver.query import Query
from kubeling.apiserver.user import User
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "Answer",
    "ApiRequest",
    "BytesAnswer",
    "ConnectionAnswer",
    "ObjectAnswer",
    "Stored",
    "StoredAnswer",
    "StreamAnswer",
    "Target",
    "WatchAnswer",
    "parse_path",
]


@dataclass(slots=True)
class ApiRequest:
    """One request. ``value`` is the body as JSON if it came so, else ``text`` holds it."""

    method: str
    path: str
    user: User
    query: Query = field(default_factory=Query)
    value: Any = None
    text: bytes = b""
    content_type: str = ""
    accept: str = ""
    user_agent: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    impersonator: User | None = None
    """Who acts for ``user``, if somebody does."""
    source: str = ""
    """The address it came from; empty in process."""
    audit_id: str = ""


@dataclass(slots=True)
class ObjectAnswer:
    """A JSON object. It may share parts with the store: do not change it."""

    obj: Obj
    code: int = 200
    warnings: list[str] = field(default_factory=list)
    yaml: bool = False


class Stored(Protocol):
    """What is kept encoded, and decoded where that is wanted."""

    @property
    def obj(self) -> Obj: ...

    @property
    def encoded(self) -> bytes: ...


@dataclass(slots=True)
class StoredAnswer:
    """An object, or a list of them, as stored."""

    stored: Stored


@dataclass(slots=True)
class WatchAnswer:
    """A stream of changes.

    ``form`` names what objects look like where nothing else decides that, so that what is written
    for one watcher can be used for the next.
    """

    changes: Changes
    form: str = ""


@dataclass(slots=True)
class BytesAnswer:
    """A body that is ready as it is."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StreamAnswer:
    """A body that is written as it comes."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str = "text/plain"


@dataclass(slots=True)
class ConnectionAnswer:
    """The client's connection itself is needed (exec, proxy): ``serve`` answers on it.

    ``fetch`` gives the same answer whole to a caller in this process, which has no connection.
    """

    serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    fetch: Callable[[], Awaitable[BytesAnswer]] | None = None


Answer = ObjectAnswer | StoredAnswer | WatchAnswer | BytesAnswer | StreamAnswer | ConnectionAnswer


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. ``rest`` is what follows a ``proxy`` subresource."""

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False

    @property
    def is_resource(self) -> bool:
        return bool(self.plural)


_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@lru_cache(maxsize=1024)
def parse_path(path: str) -> Target | None:
    """The target of a path under ``/api`` or ``/apis``; ``None`` for any other path."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 2 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    if not rest:
        return Target(group, version)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *more = [*rest, "", "", ""][: max(len(rest), 3)]
    tail = "/".join(part for part in more if part)
    if subresource == "proxy" and path.endswith("/") and tail:
        tail += "/"
    return Target(group, version, plural, namespace, name, subresource, tail, watch)
