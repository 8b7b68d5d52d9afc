"""Reading request bodies: JSON, YAML and, for built-in kinds, protobuf."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.apiserver.requests import ApiRequest
from kubeling.kube import yaml
from kubeling.kube.errors import BadRequest, UnsupportedMediaType
from kubeling.kube.objects import deep_copy

__all__ = ["PROTOBUF", "media_type", "read_object", "read_patch"]

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_JSON: Final = ("", "application/json", "*/*", "text/plain", "application/octet-stream")
_YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml")


def media_type(header: str) -> str:
    """The media type of a header, without parameters."""
    return header.split(";", 1)[0].strip().lower()


def read_object(request: ApiRequest) -> Any:
    """The body as JSON; a caller's own copy, or ``None`` where there is no body."""
    if request.value is not None:
        return deep_copy(request.value)
    if not request.text:
        return None
    kind = media_type(request.content_type)
    if kind in _JSON:
        return _json(request.text)
    if kind in _YAML:
        return _yaml(request.text)
    if kind == PROTOBUF:
        from kubeling.apiserver.protobuf import decode

        return decode(request.text)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format ({kind}) - accepted media types "
        f"include: application/json, application/yaml, {PROTOBUF}"
    )


def read_patch(request: ApiRequest) -> Any:
    """A patch: JSON, or YAML where the media type says so."""
    if request.value is not None:
        return deep_copy(request.value)
    if media_type(request.content_type).endswith("+yaml"):
        return _yaml(request.text)
    return _json(request.text)


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _yaml(text: bytes) -> Any:
    if text.lstrip()[:1] in (b"{", b"["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            pass
    try:
        return yaml.load(text)
    except ValueError as error:
        raise BadRequest(f"the body is {error}") from None
