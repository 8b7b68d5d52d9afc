"""Rules of APIServices: names that say what they serve, and how their backends are reached."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    dns_subdomain,
    port_number,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["REGISTRATION_RULES"]

_VERSION: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_HIGHEST_GROUP: Final = 20000
_HIGHEST_VERSION: Final = 1000


def _api_service(new: Obj, old: Obj | None) -> Errors:
    spec, name = spec_of(new), (new.get("metadata") or {}).get("name", "")
    group, version = spec.get("group", ""), spec.get("version", "")
    if name != f"{version}.{group}":
        message = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        yield FieldError("metadata.name", "Invalid value", message, name)
    if not group and version != "v1":
        message = "only v1 may have an empty group and it better be legacy kube"
        yield FieldError("spec.group", "Required value", message)
    if group:
        yield from dns_subdomain(group, "spec.group")
    if not _VERSION.fullmatch(version):
        message = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character (e.g. "
            "'my-name',  or 'abc-123', regex used for validation is "
            "'[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
        yield FieldError("spec.version", "Invalid value", message, version)
    yield from _priority(spec, "groupPriorityMinimum", _HIGHEST_GROUP)
    yield from _priority(spec, "versionPriority", _HIGHEST_VERSION)
    yield from _local(spec) if spec.get("service") is None else _remote(spec)


def _priority(spec: Obj, field: str, highest: int) -> Errors:
    value = spec.get(field, 0)
    if not 0 < value <= highest:
        message = f"must be positive and less than {highest}"
        yield FieldError(f"spec.{field}", "Invalid value", message, value)


def _local(spec: Obj) -> Errors:
    for field in ("caBundle", "insecureSkipTLSVerify"):
        if spec.get(field):
            message = f"local APIServices may not have {'a ' * (field == 'caBundle')}{field}"
            shown = f"{len(spec[field])} bytes" if field == "caBundle" else True
            yield FieldError(f"spec.{field}", "Invalid value", message, shown)


def _remote(spec: Obj) -> Errors:
    yield from required(spec["service"], "spec.service", "namespace", "name")
    yield from port_number(spec["service"].get("port", 443), "spec.service.port")
    bundle = spec.get("caBundle")
    if bundle and spec.get("insecureSkipTLSVerify"):
        message = "may not be true if caBundle is present"
        yield FieldError("spec.insecureSkipTLSVerify", "Invalid value", message, True)
    try:
        base64.b64decode(bundle or "", validate=True)
    except (binascii.Error, ValueError):
        message = "must be certificates in PEM form, encoded in base64"
        yield FieldError("spec.caBundle", "Invalid value", message, bundle)


REGISTRATION_RULES: Final[Checks] = {("apiregistration.k8s.io", "APIService"): _api_service}
