"""Rules of ConfigMaps and Secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kubeling.apiserver.validation.rules import IMMUTABLE, Checks, Errors
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["DATA_RULES"]

_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_LIMIT: Final = 1024 * 1024
_TYPED: Final = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_ACCOUNT: Final = "kubernetes.io/service-account.name"


def _keys(keys: Iterable[str], path: str) -> Errors:
    for key in keys:
        if len(key) > 253:
            message = "must be no more than 253 characters"
            yield FieldError(f"{path}[{key}]", "Invalid value", message, key)
        if not _KEY.fullmatch(key) or key in (".", ".."):
            message = (
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                "'[-._a-zA-Z0-9]+')"
            )
            yield FieldError(f"{path}[{key}]", "Invalid value", message, key)


def _size(data: Iterable[str]) -> Errors:
    if sum(len(value) for value in data) > _LIMIT:
        yield FieldError("", "Too long", f"may not be more than {_LIMIT} bytes")


def _immutable(new: Obj, old: Obj) -> Errors:
    if not old.get("immutable"):
        return
    message = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        yield FieldError("immutable", "Forbidden", message)
    for field in ("data", "binaryData"):
        if new.get(field) != old.get(field):
            yield FieldError(field, "Forbidden", message)


def _config_map(new: Obj, old: Obj | None) -> Errors:
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    yield from _keys(data, "data")
    if binary:
        yield from _keys(binary, "binaryData")
        for key in sorted(data.keys() & binary.keys()):
            message = "duplicate of key present in binaryData"
            yield FieldError(f"data[{key}]", "Invalid value", message, key)
    yield from _size([*data.values(), *binary.values()])
    if old is not None:
        yield from _immutable(new, old)


def _secret(new: Obj, old: Obj | None) -> Errors:
    data, kind = new.get("data") or {}, new.get("type", "Opaque")
    yield from _keys(data, "data")
    yield from _size(data.values())
    for key in _TYPED.get(kind, ()):
        if key not in data:
            yield FieldError(f"data[{key}]", "Required value", "")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield FieldError("data[username]", "Required value", "")
        yield FieldError("data[password]", "Required value", "")
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        yield FieldError(f"metadata.annotations[{_ACCOUNT}]", "Required value", "")
    if old is not None and old.get("type", "Opaque") != kind:
        yield FieldError("type", "Invalid value", IMMUTABLE, kind)
    if old is not None:
        yield from _immutable(new, old)


DATA_RULES: Final[Checks] = {("", "ConfigMap"): _config_map, ("", "Secret"): _secret}
