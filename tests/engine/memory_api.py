"""A small API server in memory: the verbs the node needs, with resource versions and watches."""

import asyncio
import datetime as dt
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from kubeling.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubeling.kube.objects import Obj, deep_copy, format_time
from kubeling.kube.transport import Request, WatchEvent

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)


class MemoryApi:
    """Implements :class:`kubeling.kube.transport.Transport`; ``writes`` logs what was written."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.writes: list[str] = []
        self._version = itertools.count(1)
        self._watchers: list[tuple[str, str, asyncio.Queue[WatchEvent]]] = []

    async def send(self, request: Request) -> Obj:
        await asyncio.sleep(0)
        match = _PATH.fullmatch(request.path)
        assert match is not None, request.path
        plural, name, sub = match["plural"], match["name"] or "", match["sub"] or ""
        space = match["namespace"] or ""
        key = (plural, space, name)
        if request.method != "GET":
            self.writes.append(f"{request.method} {plural}{'/' + sub if sub else ''}")
        match request.method:
            case "GET" if not name:
                return self._list(plural, space)
            case "GET":
                return deep_copy(self._existing(key))
            case "POST" if sub == "binding":
                self._change(
                    key, lambda o: o["spec"].update(nodeName=request.body["target"]["name"])
                )
                return {}
            case "POST" if sub == "token":
                audience = (request.body["spec"].get("audiences") or ["api"])[0]
                return {"status": {"token": f"token-for-{name}-{audience}"}}
            case "POST":
                return self._create(plural, space, request.body)
            case "PATCH":
                return self._patch(key, request.body, sub)
            case "DELETE":
                return self._delete(key, request.body or {})
        raise ApiError(f"{request.method} {request.path}")

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        match = _PATH.fullmatch(request.path)
        assert match is not None
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        entry = (match["plural"], match["namespace"] or "", queue)
        self._watchers.append(entry)
        since = int(request.query.get("resourceVersion") or 0)
        for (plural, _, _), obj in list(self.objects.items()):
            if plural == entry[0] and int(obj["metadata"]["resourceVersion"]) > since:
                queue.put_nowait(WatchEvent("ADDED", obj))
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove(entry)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        raise NotImplementedError
        yield b""

    async def close(self) -> None:
        return

    def _existing(self, key: tuple[str, str, str]) -> Obj:
        if key not in self.objects:
            raise NotFound.of("", key[0], key[2])
        return self.objects[key]

    def _list(self, plural: str, space: str) -> Obj:
        items = [
            deep_copy(o)
            for (p, s, _), o in self.objects.items()
            if p == plural and space in ("", s)
        ]
        version = str(next(self._version))
        return {"metadata": {"resourceVersion": version}, "items": items}

    def _create(self, plural: str, space: str, body: Obj) -> Obj:
        obj = deep_copy(body)
        key = (plural, space, obj["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists.of("", plural, key[2])
        obj["metadata"].setdefault("uid", str(uuid.uuid4()))
        obj["metadata"].setdefault("creationTimestamp", format_time(dt.datetime.now(dt.UTC)))
        if space:
            obj["metadata"]["namespace"] = space
        return self._store(key, obj, "ADDED")

    def _patch(self, key: tuple[str, str, str], body: Obj, sub: str) -> Obj:
        wanted = (body.get("metadata") or {}).get("uid")
        if wanted and wanted != self._existing(key)["metadata"]["uid"]:
            raise Conflict("uid differs")
        changes = {"status": body["status"]} if sub == "status" else body
        return self._change(key, lambda o: _merge(o, changes))

    def _delete(self, key: tuple[str, str, str], options: Obj) -> Obj:
        obj = self._existing(key)
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != obj["metadata"]["uid"]:
            raise Conflict("uid differs")
        grace = options.get("gracePeriodSeconds", obj.get("spec", {}).get(
            "terminationGracePeriodSeconds", 30))  # fmt: skip
        scheduled = key[0] == "pods" and obj["spec"].get("nodeName")
        if scheduled and grace:
            now = format_time(dt.datetime.now(dt.UTC))
            stamps = {"deletionTimestamp": now, "deletionGracePeriodSeconds": grace}
            return self._change(key, lambda o: o["metadata"].update(stamps))
        del self.objects[key]
        self._tell(key, WatchEvent("DELETED", obj))
        return deep_copy(obj)

    def _change(self, key: tuple[str, str, str], edit: Callable[[Obj], Any]) -> Obj:
        obj = deep_copy(self._existing(key))
        edit(obj)
        return self._store(key, obj, "MODIFIED")

    def _store(self, key: tuple[str, str, str], obj: Obj, type: Any) -> Obj:
        obj["metadata"]["resourceVersion"] = str(next(self._version))
        self.objects[key] = obj
        self._tell(key, WatchEvent(type, obj))
        return deep_copy(obj)

    def _tell(self, key: tuple[str, str, str], event: WatchEvent) -> None:
        for plural, space, queue in self._watchers:
            if plural == key[0] and space in ("", key[1]):
                queue.put_nowait(event)


def _merge(target: Obj, patch: Obj) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = deep_copy(value)
