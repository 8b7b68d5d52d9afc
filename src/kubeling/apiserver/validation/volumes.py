"""Rules of a pod's volumes: each is of exactly one type, with what that type needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kubeling.apiserver.validation.rules import (
    Errors,
    dns_label,
    exactly_one,
    required,
    unique,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["volumes"]

_NEEDED: Final = {
    "configMap": ("name",),
    "secret": ("secretName",),
    "persistentVolumeClaim": ("claimName",),
    "hostPath": ("path",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
}
_MODES: Final = "must be a number between 0 and 0777 (octal), both inclusive"


def volumes(found: list[Obj], path: str) -> Errors:
    """The volumes of one pod."""
    yield from unique(found, path)
    for index, volume in enumerate(found):
        where = f"{path}[{index}]"
        if volume.get("name"):
            yield from dns_label(volume["name"], f"{where}.name")
        else:
            yield FieldError(f"{where}.name", "Required value", "")
        yield from exactly_one(volume, where, "volume", but=("name",))
        for kind, source in volume.items():
            if isinstance(source, dict):
                yield from _source(kind, source, f"{where}.{kind}")


def _source(kind: str, source: Obj, path: str) -> Errors:
    yield from required(source, path, *_NEEDED.get(kind, ()))
    yield from _mode(source, path, "defaultMode")
    yield from _files(source.get("items") or (), path)
    if kind == "projected":
        for index, inner in enumerate(source.get("sources") or ()):
            where = f"{path}.sources[{index}]"
            yield from exactly_one(inner, where, "volume")
            for projected in inner.values():
                yield from _files(projected.get("items") or (), where)
    if kind == "hostPath" and ".." in str(source.get("path", "")).split("/"):
        yield FieldError(f"{path}.path", "Invalid value", "must not contain '..'", source["path"])


def _files(items: Iterable[Any], path: str) -> Errors:
    for index, item in enumerate(items):
        where = f"{path}.items[{index}]"
        yield from required(item, where, "path")
        yield from _mode(item, where, "mode")
        parts = item.get("path", "")
        if parts.startswith("/"):
            yield FieldError(f"{where}.path", "Invalid value", "must be a relative path", parts)
        if ".." in parts.split("/"):
            yield FieldError(f"{where}.path", "Invalid value", "must not contain '..'", parts)


def _mode(place: Obj, path: str, field: str) -> Errors:
    value = place.get(field)
    if isinstance(value, int) and not 0 <= value <= 0o777:
        yield FieldError(f"{path}.{field}", "Invalid value", _MODES, value)
