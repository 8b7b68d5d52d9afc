"""What a Go server says of JSON that does not fit its types.

Built-in kinds are decoded into Go structs, which fails at the first value of another type: 400, in
the decoder's words, before any rule is asked. Custom kinds are maps there, whose schemas speak of
types (422), but their metadata is a struct as well. Source: ``encoding/json`` as kept in
``sigs.k8s.io/json``, and ``transformDecodeError`` of the API server's handlers.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from typing import Any, Final

from kubeling.apiserver.builtin.types import META, definition_schema
from kubeling.apiserver.constraints import quantity_error
from kubeling.apiserver.schema import Schema, compile_schema
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["cannot_be_handled", "check_metadata", "mistyped", "typed"]

_SIZES: Final = {"int32": 2**31, "int64": 2**63}
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_TIME: Final = "2006-01-02T15:04:05Z07:00"


def cannot_be_handled(kind: str, version: str, why: str) -> BadRequest:
    """The refusal of a body that was read but is no such object."""
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def typed(value: Any, definition: str) -> Obj:
    """A body as an object of a built-in type, without nulls; raises :class:`BadRequest`."""
    schema, kind = _compiled(definition), definition.rsplit(".", 1)[-1]
    if not isinstance(value, dict):
        raise BadRequest(f"the request has no body: a {kind} is expected")
    if wrong := mistyped(schema, value):
        raise cannot_be_handled(kind, definition.rsplit(".", 2)[-2], wrong)
    schema.normalise(value)
    return value


def check_metadata(obj: Obj, kind: str, version: str) -> None:
    """Raises :class:`BadRequest` where the metadata of any kind is of other types than it has."""
    metadata, schema = obj.get("metadata"), _compiled(f"{META}.ObjectMeta")
    if metadata is None or (isinstance(metadata, dict) and schema.conforms(metadata)):
        return
    if wrong := mistyped(schema, metadata, kind, ("metadata",)):
        raise cannot_be_handled(kind, version, wrong)


def mistyped(schema: Schema, value: Any, struct: str = "", path: tuple[str, ...] = ()) -> str:
    """What is said of the first value of another type; empty where there is none.

    ``struct`` is the type whose field, at the end of ``path``, the value is.
    """
    return _mistyped(schema, value, struct, path) or ""


def _mistyped(schema: Schema, value: Any, struct: str, path: tuple[str, ...]) -> str | None:
    if value is None or schema.untyped:
        return None
    if schema.quantity:
        error = quantity_error(value, "")
        return error.message if error else None
    found = _found(schema, value)
    if found:
        into = f"Go struct field {struct}.{'.'.join(path)} of" if path else "Go value of"
        return f"json: cannot unmarshal {found} into {into} type {_go_type(schema)}"
    if isinstance(value, str):
        return _unreadable(schema.format, value)
    if isinstance(value, list) and schema.items is not None:
        inner = ((schema.items, item, struct, path) for item in value)
    elif isinstance(value, dict) and schema.additional is not None:
        inner = ((schema.additional, item, struct, path) for item in value.values())
    elif isinstance(value, dict):
        name = schema.reference.rsplit(".", 1)[-1] or struct
        fields = schema.properties
        inner = (
            (fields[key], item, name, (*path, key)) for key, item in value.items() if key in fields
        )
    else:
        return None
    return next(filter(None, (_mistyped(*one) for one in inner)), None)


def _found(schema: Schema, value: Any) -> str:
    """What the decoder calls a value that does not fit; empty where it fits."""
    wanted = schema.type
    match value:
        case bool():
            return "" if wanted == "boolean" else "bool"
        case int():
            size = _SIZES.get(schema.format)
            if wanted == "integer" and size is not None and not -size <= value < size:
                return f"number {value}"
            return "" if wanted in ("integer", "number", "int-or-string") else "number"
        case float():
            whole = wanted == "integer" and value.is_integer()
            return "" if whole or wanted == "number" else f"number {value}"
        case str():
            return "" if wanted in ("string", "int-or-string") else "string"
        case list():
            return "" if wanted == "array" else "array"
        case _:
            return "" if wanted == "object" else "object"


def _go_type(schema: Schema) -> str:
    if schema.reference:
        package, name = schema.reference.rsplit(".", 2)[-2:]
        return f"{package}.{name}"
    match schema.type:
        case "array":
            return f"[]{_go_type(schema.items) if schema.items else 'interface {}'}"
        case "object":
            values = _go_type(schema.additional) if schema.additional else "interface {}"
            return f"map[string]{values}"
        case "integer":
            return schema.format or "int64"
        case "int-or-string":
            return "int32"
        case "number":
            return "float64"
        case "boolean":
            return "bool"
        case other:
            return other


def _unreadable(format: str, text: str) -> str | None:
    if format == "byte":
        packed = text.replace("\n", "").replace("\r", "")
        if not _BASE64.fullmatch(packed):
            good = re.match(r"[A-Za-z0-9+/]*", packed)
            return f"illegal base64 data at input byte {good.end() if good else 0}"
    elif format == "date-time":
        try:
            dt.datetime.fromisoformat(text if "T" in text else "")
        except ValueError:
            return f'parsing time "{text}" as "{_TIME}": cannot parse "{text}" as "2006"'
    return None


@cache
def _compiled(definition: str) -> Schema:
    return compile_schema({"x-kubeling-ref": definition}, definition_schema)
