"""Resources whose versions differ by more than their names, so that a webhook converts them.

The registry knows the version objects are kept in and never waits for anybody. What is asked for in
another version is converted here: on the way in before the registry decides, on the way out after
it answered. An object changed meanwhile is converted and decided anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from kubeling.apiserver.listing import Change, Changes
from kubeling.apiserver.metadata import check_identity
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.registry import Registry, Transform
from kubeling.apiserver.requests import Answer, ObjectAnswer, StoredAnswer, WatchAnswer
from kubeling.apiserver.served import Served, Settled
from kubeling.apiserver.shapes import custom_shape
from kubeling.apiserver.webhooks.conversion import Converter
from kubeling.kube.errors import Conflict, NotFound
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["ConvertedResources", "kept_version"]

_ATTEMPTS: Final = 5


class ConvertedResources:
    """Writes as the registry makes them, in the version of the request."""

    def __init__(self, registry: Registry, converter: Converter) -> None:
        self._registry = registry
        self._converter = converter

    async def create(self, served: Served, namespace: str, obj: Obj, options: WriteOptions) -> Obj:
        """As :meth:`Registry.create`."""
        check_identity(obj, served.resource, namespace)
        self._judge(served, obj, None, options)
        kept = await self._in_version(kept_version(served), obj)
        created = await self._registry.create(kept_version(served), namespace, kept, options)
        return await self._in_version(served, created)

    async def update(
        self,
        served: Served,
        namespace: str,
        name: str,
        transform: Transform,
        options: WriteOptions,
        *,
        create: Callable[[], Obj] | None = None,
    ) -> tuple[Obj, bool]:
        """As :meth:`Registry.update`."""
        key = served.key(namespace, name)
        for _ in range(_ATTEMPTS):
            record = self._registry.store.get(key)
            if record is None:
                break
            old = await self._in_version(served, record.obj)
            new = deep_copy(transform(deep_copy(old)))
            check_identity(new, served.resource, namespace, name)
            self._judge(served, new, old, options)
            wanted = _always(await self._in_version(kept_version(served), new))
            try:
                changed, _ = await self._registry.update(
                    kept_version(served), namespace, name, wanted, options
                )
            except Conflict:
                if self._registry.store.get(key) is record:
                    raise
                continue
            return await self._in_version(served, changed), False
        else:
            raise Conflict.of(served.resource.group, served.resource.plural, name)
        if create is None:
            raise NotFound.of(served.resource.group, served.resource.plural, name)
        obj = create()
        check_identity(obj, served.resource, namespace, name)
        return await self.create(served, namespace, obj, options), True

    async def shown(self, answer: Answer, served: Served) -> Answer:
        """What was read in the version that is kept, in the version asked for."""
        if isinstance(answer, WatchAnswer):
            return WatchAnswer(self._changes(answer.changes, served))
        if isinstance(answer, StoredAnswer):
            answer = ObjectAnswer(answer.stored.obj)
        if not isinstance(answer, ObjectAnswer):
            return answer
        kind, api_version = answer.obj.get("kind"), served.resource.api_version
        if kind == served.resource.kind:
            answer.obj = await self._in_version(served, answer.obj)
        elif kind == f"{served.resource.kind}List":
            items = await self._converter.convert(served, answer.obj["items"])
            answer.obj = {**answer.obj, "apiVersion": api_version, "items": list(items)}
        return answer

    async def _changes(self, changes: Changes, served: Served) -> Changes:
        async with contextlib.aclosing(changes):
            async for together in changes:
                yield [await self._change(change, served) for change in together]

    async def _change(self, change: Change, served: Served) -> Change:
        if change.type == "BOOKMARK":
            version = served.resource.api_version
            return Change("BOOKMARK", {**change.object, "apiVersion": version})
        return Change(change.type, await self._in_version(served, change.object))

    def _judge(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """Completes the object by the schema of the request's version, and checks it by that."""
        if not options.subresource:
            settled = served.shape.settle(new, old)
        elif options.subresource == "status" and new.get("status") is not None:
            settled = served.shape.settle_status(new["status"])
        else:
            settled = Settled([], [])
        self._registry.judge(served, new, settled, options)

    async def _in_version(self, served: Served, obj: Obj) -> Obj:
        [converted] = await self._converter.convert(served, [obj])
        return converted


@lru_cache(maxsize=64)
def kept_version(served: Served) -> Served:
    """The version that objects are kept in, whether or not that one is served."""
    if served.definition is None or served.resource == served.stored:
        return served
    versions = served.definition["spec"]["versions"]
    stored = next(version for version in versions if version.get("storage"))
    return replace(served, resource=served.stored, shape=custom_shape(served.definition, stored))


def _always(obj: Obj) -> Transform:
    return lambda _: obj
