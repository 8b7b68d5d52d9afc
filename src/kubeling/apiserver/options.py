"""The options of a request, read once from its query and checked.

The rules are upstream's ``apis/meta/v1/validation`` and ``apis/meta/internalversion/validation``;
clients find out by them what a server can do (``sendInitialEvents``) and fall back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from kubeling.apiserver.query import Query
from kubeling.apiserver.user import ADMIN, User
from kubeling.kube.errors import BadRequest, FieldError, Invalid

__all__ = [
    "MANAGER_LIMIT",
    "FieldValidation",
    "ListOptions",
    "WriteOptions",
    "dry_run_errors",
    "refuse",
    "truthy",
]

MANAGER_LIMIT: Final = 128
"""How long the name of a field manager may be."""

FieldValidation = Literal["Strict", "Warn", "Ignore"]


def truthy(query: Mapping[str, str], name: str) -> bool:
    """Whether a boolean query parameter is set: to anything but ``0`` and ``false``."""
    return name in query and query[name].lower() not in ("0", "false")


def refuse(kind: str, errors: Iterable[FieldError]) -> None:
    """Raises :class:`Invalid` for the options of a request, if anything is wrong with them."""
    if found := list(errors):
        raise Invalid.of("meta.k8s.io", kind, "", found)


def dry_run_errors(values: Iterable[Any]) -> Iterator[FieldError]:
    """What is wrong with the values of ``dryRun``."""
    values = list(values)
    if any(value != "All" for value in values):
        yield FieldError("dryRun", "Unsupported value", 'supported values: "All"', values)


@dataclass(slots=True)
class WriteOptions:
    """How to write; ``warnings`` collects what the client is told besides the answer."""

    user: User = ADMIN
    field_manager: str = ""
    named_manager: bool = False
    """Whether the request named its manager, rather than leaving it to be guessed."""
    force: bool = False
    dry_run: bool = False
    field_validation: FieldValidation = "Ignore"
    subresource: str = ""
    internal: bool = False
    """Whether the server tidies up, which users' webhooks and policies have no say in."""
    applied: bool = False
    """Whether the object comes from server-side apply, ownership included."""
    duplicates: list[str] = field(default_factory=list)
    """What the body says twice."""
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def parse(
        cls,
        query: Query,
        user: User,
        subresource: str = "",
        *,
        kind: str = "CreateOptions",
        applies: bool = False,
    ) -> WriteOptions:
        """Reads ``CreateOptions``, ``UpdateOptions`` or ``PatchOptions``."""
        refuse(kind, _write_errors(query, kind, applies))
        return cls(
            user=user,
            field_manager=query.get("fieldManager", ""),
            named_manager=bool(query.get("fieldManager")),
            force=truthy(query, "force"),
            dry_run="All" in query.all("dryRun"),
            field_validation=cast(FieldValidation, query.get("fieldValidation") or "Warn"),
            subresource=subresource,
        )


def _write_errors(query: Query, kind: str, applies: bool) -> Iterator[FieldError]:
    manager = query.get("fieldManager", "")
    if applies and not manager:
        yield FieldError("fieldManager", "Required value", "is required for apply patch")
    if kind == "PatchOptions" and not applies and "force" in query:
        yield FieldError("force", "Forbidden", "may not be specified for non-apply patch")
    if len(manager) > MANAGER_LIMIT:
        message = f"may not be more than {MANAGER_LIMIT} bytes"
        yield FieldError("fieldManager", "Too long", message)
    if not manager.isprintable():
        for position, letter in enumerate(manager):
            if not letter.isprintable():
                message = f"invalid character U+{ord(letter):04X} (at position {position})"
                yield FieldError("fieldManager", "Invalid value", message, manager)
    yield from dry_run_errors(query.all("dryRun"))
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        message = 'supported values: "", "Ignore", "Strict", "Warn"'
        yield FieldError("fieldValidation", "Unsupported value", message, validation)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What to list or watch."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    version_match: str = ""
    timeout_seconds: int = 0
    bookmarks: bool = False
    initial_events: bool | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str], *, watch: bool = False) -> ListOptions:
        initial = truthy(query, "sendInitialEvents") if "sendInitialEvents" in query else None
        options = cls(
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
            limit=max(_number(query, "limit"), 0),
            continue_token=query.get("continue", ""),
            resource_version=query.get("resourceVersion", ""),
            version_match=query.get("resourceVersionMatch", ""),
            timeout_seconds=_number(query, "timeoutSeconds"),
            bookmarks=truthy(query, "allowWatchBookmarks"),
            initial_events=initial,
        )
        refuse("ListOptions", options._watch_errors() if watch else options._list_errors())
        return options

    def _list_errors(self) -> Iterator[FieldError]:
        match, where = self.version_match, "resourceVersionMatch"
        if match and not self.resource_version:
            yield _forbidden(where, f"{where} is forbidden unless resourceVersion is provided")
        if match and self.continue_token:
            yield _forbidden(where, f"{where} is forbidden when continue is provided")
        if match not in ("", "Exact", "NotOlderThan"):
            message = 'supported values: "Exact", "NotOlderThan", ""'
            yield FieldError(where, "Unsupported value", message, match)
        if match == "Exact" and self.resource_version == "0":
            yield _forbidden(where, f'{where} "exact" is forbidden for resourceVersion "0"')
        if self.initial_events is not None:
            yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")

    def _watch_errors(self) -> Iterator[FieldError]:
        match, where = self.version_match, "resourceVersionMatch"
        if self.initial_events is not None and match != "NotOlderThan":
            yield _forbidden(where, f"sendInitialEvents requires setting {where} to NotOlderThan")
        if not match:
            return
        if self.initial_events is None:
            yield _forbidden(
                where, f"{where} is forbidden for watch unless sendInitialEvents is provided"
            )
        if match != "NotOlderThan":
            yield FieldError(where, "Unsupported value", 'supported values: "NotOlderThan"', match)
        if self.continue_token:
            yield _forbidden(where, f"{where} is forbidden when continue is provided")


def _forbidden(field: str, message: str) -> FieldError:
    return FieldError(field, "Forbidden", message)


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise BadRequest(f'{name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)
