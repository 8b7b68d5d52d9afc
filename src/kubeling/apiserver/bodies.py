"""Reading request bodies: JSON, YAML and, for built-in kinds, protobuf.

A field that is stated twice is told of, as unknown fields are. No parser at hand says so, but it is
cheap to suspect: written again, what was read has fewer quotes than the text had.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.requests import ApiRequest
from kubeling.kube import yaml
from kubeling.kube.errors import BadRequest, UnsupportedMediaType
from kubeling.kube.objects import deep_copy

__all__ = ["PROTOBUF", "media_type", "read_object", "read_patch"]

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_JSON: Final = ("", "application/json", "*/*", "text/plain", "application/octet-stream")
_YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml")
_DEPTH: Final = 200
"""How deep a body may be nested: what is read must be walked, here and by all who read it later."""
_PARTS: Final = 1_000_000
_TOO_DEEP: Final = f"the body is nested more than {_DEPTH} levels deep"
_encode: Final = msgspec.json.Encoder().encode


def media_type(header: str) -> str:
    """The media type of a header, without parameters."""
    return header.split(";", 1)[0].strip().lower()


def read_object(request: ApiRequest, options: WriteOptions | None = None) -> Any:
    """The body as JSON; a caller's own copy, or ``None`` where there is no body.

    With ``options``, fields stated twice are noted there.
    """
    if request.value is not None:
        return deep_copy(request.value)
    if not request.text:
        return None
    kind = media_type(request.content_type)
    if kind in _JSON:
        return _json(request.text, options)
    if kind in _YAML:
        return _yaml(request.text, options)
    if kind == PROTOBUF:
        from kubeling.apiserver.protobuf import decode

        return decode(request.text)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format ({kind}) - accepted media types "
        f"include: application/json, application/yaml, {PROTOBUF}"
    )


def read_patch(request: ApiRequest, options: WriteOptions | None = None) -> Any:
    """A patch: JSON, or YAML where the media type says so."""
    if request.value is not None:
        return deep_copy(request.value)
    if media_type(request.content_type).endswith("+yaml"):
        return _yaml(request.text, options)
    return _json(request.text, options)


def _json(text: bytes, options: WriteOptions | None) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    _check_depth(text, value)
    if options is not None and options.field_validation != "Ignore":
        _note_duplicates(text, value, options)
    return value


def _yaml(text: bytes, options: WriteOptions | None) -> Any:
    if text.lstrip()[:1] in (b"{", b"["):
        with contextlib.suppress(BadRequest):
            return _json(text, options)
    try:
        value = yaml.load(text)
        if _larger(value, _PARTS):
            raise ValueError("more than its aliases may make of it")
        # Once more, because YAML knows values and keys that JSON does not.
        value = msgspec.json.decode(_encode(value))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRequest(f"the body is {error}") from None
    if _deeper(value, _DEPTH):
        raise BadRequest(_TOO_DEEP)
    if options is not None and options.field_validation != "Ignore":
        options.duplicates = yaml.duplicates(text)
    return value


def _larger(value: Any, parts: int) -> bool:
    """Whether a value has more parts than that, counting what is repeated by reference."""
    stack = [value]
    while stack and parts:
        parts -= 1
        value = stack.pop()
        if isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return not parts


def _check_depth(text: bytes, value: Any) -> None:
    if text.count(b"{") + text.count(b"[") > _DEPTH and _deeper(value, _DEPTH):
        raise BadRequest(_TOO_DEEP)


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper(inner, levels - 1) for inner in value)


def _note_duplicates(text: bytes, value: Any, options: WriteOptions) -> None:
    if text.count(b'"') > _encode(value).count(b'"'):
        whole = json.loads(text, object_pairs_hook=_Pairs)
        options.duplicates = [f'duplicate field "{path}"' for path in _duplicates(whole, "")]


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written."""


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, inner in value:
            where = f"{path}.{key}" if path else key
            if key in seen:
                yield where
            seen.add(key)
            yield from _duplicates(inner, where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _duplicates(inner, f"{path}[{index}]")
