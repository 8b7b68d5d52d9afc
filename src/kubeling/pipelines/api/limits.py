"""How long names may be, and how many tags and plugins' inputs there may be: upstream's limits."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError

__all__ = [
    "MAX_NAMESPACE",
    "check_length",
    "check_name",
    "checked_changes",
    "checked_plugins",
    "checked_tags",
]

MAX_NAMESPACE: Final = 63
_MAX_TAGS: Final = 20
_MAX_TAG: Final = 63
_MAX_PLUGINS: Final = 16
_MAX_PLUGIN: Final = 64 << 10
_MAX_PLUGINS_SIZE: Final = 256 << 10


def check_name(field: str, name: str, limit: int) -> None:
    """Refuses a name that is empty or too long."""
    if not name:
        raise InvalidArgumentError(f"{field}: Required value")
    check_length(field, name, limit)


def check_length(field: str, text: str, limit: int) -> None:
    """Refuses what is too long."""
    if len(text) > limit:
        raise InvalidArgumentError(
            f"{field}: Too long: at most {limit} characters are allowed, not {len(text)}"
        )


def checked_tags(tags: Any) -> dict[str, str]:
    """The tags, if they may be set."""
    if not tags:
        return {}
    if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
        raise InvalidArgumentError("tags: a mapping of text to text is expected")
    if len(tags) > _MAX_TAGS:
        raise InvalidArgumentError(f"tags: Too many: at most {_MAX_TAGS} are allowed")
    for key, value in tags.items():
        if not key or len(key) > _MAX_TAG or len(value) > _MAX_TAG or "." in key:
            raise InvalidArgumentError(
                f'tags: Invalid value: "{key}": keys and values have at most {_MAX_TAG} characters '
                "and keys no dots"
            )
    return tags


def checked_changes(body: Obj) -> Obj:
    """What a body changes of a pipeline or a version: all else of them stays as it was made."""
    changes: Obj = {}
    if shown := body.get("display_name"):
        changes["display_name"] = shown
    if "tags" in body:
        changes["tags"] = checked_tags(body["tags"])
    return changes


def checked_plugins(plugins: dict[str, Any] | None) -> dict[str, Any]:
    """What a run hands to plugins, if it is not too much."""
    if not plugins:
        return {}
    if len(plugins) > _MAX_PLUGINS:
        raise InvalidArgumentError(f"plugins_input: Too many: at most {_MAX_PLUGINS} are allowed")
    total = 0
    for name, given in plugins.items():
        if not isinstance(given, dict):
            raise InvalidArgumentError(f"plugins_input.{name}: an object is expected")
        size = len(msgspec.json.encode(given))
        total += size
        if size > _MAX_PLUGIN:
            raise InvalidArgumentError(
                f"plugins_input.{name}: Too long: {size} bytes, at most {_MAX_PLUGIN} are allowed"
            )
    if total > _MAX_PLUGINS_SIZE:
        raise InvalidArgumentError(
            f"plugins_input: Too long: {total} bytes together, at most {_MAX_PLUGINS_SIZE} are "
            "allowed"
        )
    return plugins
