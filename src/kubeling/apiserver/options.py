"""The options of a request, read once from its query and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from kubeling.apiserver.user import ADMIN, User
from kubeling.kube.errors import BadRequest, FieldError, Invalid

__all__ = ["FieldValidation", "ListOptions", "WriteOptions", "truthy"]

FieldValidation = Literal["Strict", "Warn", "Ignore"]


def truthy(query: Mapping[str, str], name: str) -> bool:
    """Whether a boolean query parameter is set."""
    return query.get(name, "").lower() in ("1", "true", "t")


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
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, query: Mapping[str, str], user: User, subresource: str = "") -> WriteOptions:
        """Reads ``CreateOptions``, ``UpdateOptions`` or ``PatchOptions``."""
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            error = FieldError(
                "fieldValidation",
                "Unsupported value",
                'supported values: "Ignore", "Strict", "Warn"',
                validation,
            )
            raise Invalid.of("meta.k8s.io", "CreateOptions", "", [error])
        dry_run = query.get("dryRun", "")
        if dry_run not in ("", "All"):
            error = FieldError("dryRun", "Unsupported value", 'supported values: "All"', dry_run)
            raise Invalid.of("meta.k8s.io", "CreateOptions", "", [error])
        return cls(
            user=user,
            field_manager=query.get("fieldManager", ""),
            named_manager=bool(query.get("fieldManager")),
            force=truthy(query, "force"),
            dry_run=dry_run == "All",
            field_validation=cast(FieldValidation, validation),
            subresource=subresource,
        )


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
    initial_events: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ListOptions:
        return cls(
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
            limit=_number(query, "limit"),
            continue_token=query.get("continue", ""),
            resource_version=query.get("resourceVersion", ""),
            version_match=query.get("resourceVersionMatch", ""),
            timeout_seconds=_number(query, "timeoutSeconds"),
            bookmarks=truthy(query, "allowWatchBookmarks"),
            initial_events=truthy(query, "sendInitialEvents"),
        )


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'{name}: "{text}" is not a number') from None
