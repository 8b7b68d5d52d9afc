"""Rules that many kinds share: numbers, names, choices, immutability, selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kubeling.apiserver.names import label_errors
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = [
    "IMMUTABLE",
    "Check",
    "Checks",
    "Errors",
    "at_least",
    "between",
    "choice",
    "dns_label",
    "dns_subdomain",
    "exactly_one",
    "frozen",
    "int_or_percent",
    "object_labels",
    "port_name",
    "port_number",
    "quantities",
    "required",
    "selector",
    "spec_of",
    "unique",
]

Errors = Iterator[FieldError]
Check = Callable[[Obj, Obj | None], Errors]
"""The rules of a kind: of an object, and of the one it replaces if there is one."""

Checks = dict[tuple[str, str], Check]
"""Rules by group and kind."""

IMMUTABLE: Final = "field is immutable"

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PORT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PERCENT: Final = re.compile(r"[0-9]+%")
_ENDS: Final = "and must start and end with an alphanumeric character"


def spec_of(obj: Obj | None) -> Obj:
    """The spec; an empty one where there is none."""
    found: Obj = (obj or {}).get("spec") or {}
    return found


def _at(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def required(place: Mapping[str, Any], path: str, *fields: str) -> Errors:
    """Fields that must not be empty."""
    for field in fields:
        if place.get(field) in (None, "", [], {}):
            yield FieldError(_at(path, field), "Required value", "")


def at_least(place: Mapping[str, Any], path: str, *fields: str, least: int = 0) -> Errors:
    """Numbers that must not be smaller."""
    for field in fields:
        value = place.get(field)
        if isinstance(value, int) and value < least:
            message = f"must be greater than or equal to {least}"
            yield FieldError(_at(path, field), "Invalid value", message, value)


def between(place: Mapping[str, Any], path: str, field: str, low: int, high: int) -> Errors:
    """A number with two bounds."""
    value = place.get(field)
    if isinstance(value, int) and not low <= value <= high:
        message = f"must be between {low} and {high}, inclusive"
        yield FieldError(_at(path, field), "Invalid value", message, value)


def choice(place: Mapping[str, Any], path: str, field: str, choices: Collection[str]) -> Errors:
    """A field with few values; an absent one is not looked at."""
    value = place.get(field)
    if value is not None and value not in choices:
        listed = ", ".join(f'"{known}"' for known in sorted(choices))
        message = f"supported values: {listed}"
        yield FieldError(_at(path, field), "Unsupported value", message, value)


def exactly_one(
    place: Mapping[str, Any], path: str, what: str, but: Collection[str] = ()
) -> Errors:
    """A union: exactly one of the fields, ``but`` for those that always may be there."""
    chosen = [field for field in place if field not in but]
    if not chosen:
        yield FieldError(path, "Required value", f"must specify a {what} type")
    for field in chosen[1:]:
        message = f"may not specify more than 1 {what} type"
        yield FieldError(_at(path, field), "Forbidden", message)


def frozen(new: Mapping[str, Any], old: Mapping[str, Any], path: str, *fields: str) -> Errors:
    """Fields that stay as they were made."""
    for field in fields:
        if new.get(field) != old.get(field):
            yield FieldError(_at(path, field), "Invalid value", IMMUTABLE, new.get(field))


def unique(items: Iterable[Obj], path: str, field: str = "name") -> Errors:
    """Items of a list that are told apart by a field."""
    seen: set[Any] = set()
    for index, item in enumerate(items):
        value = item.get(field)
        if value and value in seen:
            yield FieldError(f"{path}[{index}].{field}", "Duplicate value", "", value)
        seen.add(value)


# Names


def dns_label(value: str, path: str) -> Errors:
    """A name such as ``my-container``."""
    if len(value) > 63:
        yield FieldError(path, "Invalid value", "must be no more than 63 characters", value)
    if not _DNS_LABEL.fullmatch(value):
        message = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            f"'-', {_ENDS} (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
        yield FieldError(path, "Invalid value", message, value)


def dns_subdomain(value: str, path: str) -> Errors:
    """A name such as ``my.host.example``."""
    if len(value) > 253:
        yield FieldError(path, "Invalid value", "must be no more than 253 characters", value)
    if not _DNS_SUBDOMAIN.fullmatch(value):
        message = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            f"'-' or '.', {_ENDS} (e.g. 'example.com')"
        )
        yield FieldError(path, "Invalid value", message, value)


def object_labels(obj: Obj, path: str) -> Errors:
    """The labels of a template's metadata."""
    yield from label_errors((obj.get("metadata") or {}).get("labels") or {}, f"{path}.labels")


# Numbers that are not plain


def port_number(value: Any, path: str) -> Errors:
    """A port's number."""
    if not 1 <= value <= 65535:
        message = "must be between 1 and 65535, inclusive"
        yield FieldError(path, "Invalid value", message, value)


def port_name(value: str, path: str) -> Errors:
    """A port's name: that of a service as IANA has them."""
    if len(value) > 15:
        yield FieldError(path, "Invalid value", "must be no more than 15 characters", value)
    if not _PORT_NAME.fullmatch(value) or "--" in value:
        message = (
            "must contain only alphanumeric characters (a-z, 0-9), and hyphens ('-'), which must "
            "not be adjacent nor at either end"
        )
        yield FieldError(path, "Invalid value", message, value)
    elif not any(letter.isalpha() for letter in value):
        message = "must contain at least one letter (a-z)"
        yield FieldError(path, "Invalid value", message, value)


def int_or_percent(place: Mapping[str, Any], path: str, field: str) -> Errors:
    """``2`` or ``25%``."""
    value = place.get(field)
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        message = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', "
            " or '93%', regex used for validation is '[0-9]+%')"
        )
        yield FieldError(_at(path, field), "Invalid value", message, value)
    yield from at_least(place, path, field)


def quantities(amounts: Mapping[str, Any], path: str) -> Errors:
    """Amounts of resources that cannot be negative."""
    for name, value in amounts.items():
        if parse_quantity(value) < 0:
            message = "must be greater than or equal to 0"
            yield FieldError(f"{path}[{name}]", "Invalid value", message, value)


# Selectors


def selector(found: Obj, path: str) -> Errors:
    """A label selector with well-formed terms."""
    yield from label_errors(found.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, term in enumerate(found.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        yield from label_errors({term.get("key", ""): ""}, f"{where}.key")
        yield from _term(term, where)


def _term(term: Obj, path: str) -> Errors:
    values = term.get("values")
    match term.get("operator"):
        case "In" | "NotIn":
            if not values:
                message = "must be specified when `operator` is 'In' or 'NotIn'"
                yield FieldError(f"{path}.values", "Required value", message)
        case "Exists" | "DoesNotExist":
            if values:
                message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield FieldError(f"{path}.values", "Forbidden", message)
        case other:
            message = "not a valid selector operator"
            yield FieldError(f"{path}.operator", "Invalid value", message, other)
