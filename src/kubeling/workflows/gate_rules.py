"""What is wrong with ``synchronization`` and ``memoize``."""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import tags

__all__ = ["memoize_errors", "synchronization_errors"]


def synchronization_errors(synchronization: Obj, path: str) -> Iterator[FieldError]:
    """What cannot be a lock; the limits of semaphores are in ConfigMaps, never in a database."""
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
            if entry.get("database"):
                message = "locks in a database are not supported; leave it out"
                if kind == "semaphores":
                    message = "limits in a database are not supported; use configMapKeyRef"
                yield FieldError(f"{at}.database", "Forbidden", message)
            elif kind == "mutexes" and not entry.get("name"):
                yield FieldError(f"{at}.name", "Required value", "name the mutex")
            elif kind == "semaphores":
                yield from _reference_errors(entry.get("configMapKeyRef") or {}, at)


def _reference_errors(reference: Obj, path: str) -> Iterator[FieldError]:
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
