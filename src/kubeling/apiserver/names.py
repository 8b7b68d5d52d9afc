"""Rules for the metadata that users write: names, labels, annotations, owners."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "LABEL_1035_TEXT",
    "SUBDOMAIN_TEXT",
    "finalizer_warnings",
    "is_label_1035",
    "is_subdomain",
    "label_errors",
    "metadata_errors",
    "qualified_name_fault",
]

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_NAME: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN: Final = re.compile(_SUBDOMAIN)
_QUALIFIED: Final = re.compile(rf"(?P<prefix>[^/]*/)?(?P<name>{_NAME})")
_VALUE: Final = re.compile(rf"({_NAME})?")

_STANDARD_FINALIZERS: Final = frozenset({"foregroundDeletion", "kubernetes", "orphan"})
_MAX_ANNOTATIONS: Final = 256 * 1024
_ANY_NAME: Final = (
    "rbac.authorization.k8s.io", "certificates.k8s.io", "apiregistration.k8s.io",
)  # fmt: skip
"""Groups whose objects may have any name that is a segment of a path."""
_ENDS: Final = "and must start and end with an alphanumeric character"
_LABEL_TEXT: Final = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}"
)
LABEL_1035_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with a "
    "letter, and end with an alphanumeric character"
)
SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    f"'.', {_ENDS} (e.g. 'example.com')"
)
_QUALIFIED_TEXT: Final = (
    f"name part must consist of alphanumeric characters, '-', '_' or '.', {_ENDS} (e.g. 'my.name')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    f"'.', {_ENDS}"
)


def is_label_1035(text: str) -> bool:
    """Whether it is a label that begins with a letter: what names of kinds are made of."""
    return len(text) <= 63 and _DNS_1035.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Whether it is a name in the manner of DNS."""
    return len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text) is not None


def metadata_errors(obj: Obj, resource: Resource, *, custom: bool = False) -> Iterator[FieldError]:
    """What is wrong with the metadata a user wrote; its types are checked already."""
    metadata = obj["metadata"]
    yield from _name_errors(metadata.get("name", ""), resource)
    if labels := metadata.get("labels"):
        yield from label_errors(labels, "metadata.labels")
    if annotations := metadata.get("annotations"):
        yield from _annotation_errors(annotations)
    if owners := metadata.get("ownerReferences"):
        yield from _owner_errors(owners)
    if finalizers := metadata.get("finalizers"):
        plain = custom or resource.group == "apiextensions.k8s.io"
        yield from _finalizer_errors(finalizers, plain=plain)


def _name_errors(name: Any, resource: Resource) -> Iterator[FieldError]:
    path = "metadata.name"
    if not isinstance(name, str):
        yield FieldError(path, "Invalid value", "must be text", name)
        return
    if resource.group in _ANY_NAME:
        if name in (".", "..") or "/" in name or "%" in name:
            message = "may not be '.' or '..', nor contain '/' or '%'"
            yield FieldError(path, "Invalid value", message, name)
        return
    if resource.group == "" and resource.kind == "Namespace":
        rule, text, limit = _DNS_LABEL, _LABEL_TEXT, 63
    elif resource.group == "" and resource.kind == "Service":
        rule, text, limit = _DNS_1035, LABEL_1035_TEXT, 63
    else:
        rule, text, limit = _DNS_SUBDOMAIN, SUBDOMAIN_TEXT, 253
    if len(name) > limit:
        yield FieldError(path, "Invalid value", f"must be no more than {limit} characters", name)
    if not rule.fullmatch(name):
        yield FieldError(path, "Invalid value", text, name)


def label_errors(labels: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with labels, or with what selects them."""
    if not isinstance(labels, dict):
        yield FieldError(path, "Invalid value", "must be an object", labels)
        return
    for key, value in labels.items():
        yield from _key_errors(path, key)
        if not isinstance(value, str):
            yield FieldError(f"{path}.{key}", "Invalid value", "must be text: quote it", value)
        elif len(value) > 63:
            yield FieldError(path, "Invalid value", "must be no more than 63 characters", value)
        elif not _VALUE.fullmatch(value):
            yield FieldError(path, "Invalid value", _VALUE_TEXT, value)


def _annotation_errors(annotations: Any) -> Iterator[FieldError]:
    path = "metadata.annotations"
    if not isinstance(annotations, dict):
        yield FieldError(path, "Invalid value", "must be an object", annotations)
        return
    size = 0
    for key, value in annotations.items():
        yield from _key_errors(path, key.lower())
        if not isinstance(value, str):
            yield FieldError(f"{path}.{key}", "Invalid value", "must be text: quote it", value)
            continue
        size += len(key) + len(value)
    if size > _MAX_ANNOTATIONS:
        yield FieldError(path, "Too long", f"may not be more than {_MAX_ANNOTATIONS} bytes")


def _key_errors(path: str, key: str) -> Iterator[FieldError]:
    if fault := qualified_name_fault(key):
        yield FieldError(path, "Invalid value", fault, key)


@lru_cache(maxsize=1024)
def qualified_name_fault(key: str) -> str:
    """What is wrong with a key; the same few are on everything."""
    match = _QUALIFIED.fullmatch(key)
    if match is None or len(match["name"]) > 63:
        return _QUALIFIED_TEXT
    prefix = match["prefix"]
    if prefix is not None and not _DNS_SUBDOMAIN.fullmatch(prefix[:-1]):
        return f"prefix part {SUBDOMAIN_TEXT}"
    return ""


def _finalizer_errors(finalizers: Iterable[str], *, plain: bool) -> Iterator[FieldError]:
    """``plain`` names need not be known: those of definitions and of what they define."""
    path, found = "metadata.finalizers", list(finalizers)
    for name in found:
        if fault := qualified_name_fault(name):
            yield FieldError(path, "Invalid value", fault, name)
        elif not plain and "/" not in name and name not in _STANDARD_FINALIZERS:
            message = "name is neither a standard finalizer name nor is it fully qualified"
            yield FieldError(path, "Invalid value", message, name)
    if {"orphan", "foregroundDeletion"} <= set(found):
        message = "finalizer orphan and foregroundDeletion cannot be both set"
        yield FieldError(path, "Invalid value", message, found)


def finalizer_warnings(new: Iterable[str], old: Iterable[str]) -> Iterator[str]:
    """What is said of the finalizers that are added to a custom object."""
    for name in sorted(set(new) - set(old)):
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            path = " including a path (/)" if "." in name else ""
            yield (
                f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name{path} to '
                "avoid accidental conflicts with other finalizer writers"
            )


def _owner_errors(owners: Any) -> Iterator[FieldError]:
    path = "metadata.ownerReferences"
    controllers = []
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                message = f"{field} must not be empty"
                yield FieldError(f"{path}[{index}].{field}", "Invalid value", message, "")
        if owner.get("controller"):
            controllers.append(owner.get("name"))
    if len(controllers) > 1:
        message = "Only one reference can have Controller set to true"
        yield FieldError(path, "Invalid value", message, controllers)
