"""What is wrong with ``synchronization`` and ``memoize``."""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import tags

__all__ = ["memoize_errors", "synchronization_errors"]


def synchronization_errors(synchronization: Obj, path: str) -> Iterator[FieldError]:
    """What cannot be a lock."""
    for old, new in (("mutex", "mutexes"), ("semaphore", "semaphores")):
        if synchronization.get(old):
            message = f"has been replaced; write a list under {new}"
            yield FieldError(f"{path}.{old}", "Forbidden", message)
    for kind in ("semaphores", "mutexes"):
        entries = synchronization.get(kind) or []
        for number, entry in enumerate(entries):
            at = f"{path}.{kind}[{number}]"
            if entry in entries[:number]:
                yield FieldError(at, "Duplicate value", "duplicate synchronization item found")
            if kind == "semaphores":
                yield from _limit_errors(entry, at)
            elif not entry.get("name"):
                yield FieldError(f"{at}.name", "Required value", "name the mutex")


def _limit_errors(semaphore: Obj, path: str) -> Iterator[FieldError]:
    """A semaphore's limit is in a ConfigMap or in the database."""
    row, reference = semaphore.get("database"), semaphore.get("configMapKeyRef") or {}
    if row is not None:
        if reference:
            message = "its limit is either in a ConfigMap or in the database"
            yield FieldError(f"{path}.configMapKeyRef", "Forbidden", message)
        if not row.get("key"):
            message = "say under which key the database has the limit"
            yield FieldError(f"{path}.database.key", "Required value", message)
        return
    for key in ("name", "key"):
        if not reference.get(key):
            message = "say which ConfigMap entry has the limit"
            yield FieldError(f"{path}.configMapKeyRef.{key}", "Required value", message)


def memoize_errors(memoize: Obj, path: str) -> Iterator[FieldError]:
    """A cache has a ConfigMap, and an entry a key."""
    if not memoize.get("key"):
        yield FieldError(f"{path}.key", "Required value", "say under which key outputs are kept")
    if not ((memoize.get("cache") or {}).get("configMap") or {}).get("name"):
        message = "name the ConfigMap that outputs are kept in"
        yield FieldError(f"{path}.cache.configMap.name", "Required value", message)
    age = str(memoize.get("maxAge") or "")
    if age and not tags.has_tags(age):
        try:
            parse_duration(age)
        except ValueError as error:
            yield FieldError(f"{path}.maxAge", "Invalid value", f"invalid maxAge: {error}", age)
