"""Pages of lists: what a client asks for, and tokens that say where the last page ended.

A token carries the whole list, as upstream's does, so that a client need not repeat what it asked
for; what it does repeat must be the same. The total is counted for the first page only.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.wire import query_of

__all__ = ["ListOptions", "Token", "list_options"]

_DEFAULT_SIZE: Final = 20
_MAX_SIZE: Final = 200


Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Token(msgspec.Struct):
    """Where a page ended, and of which list."""

    sort_by: str
    descending: bool
    filter: str
    total: int
    segment: Annotated[int, msgspec.Meta(ge=0)]
    value: str | Whole | float | None
    key: str | Whole

    def encoded(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a client asks of a list."""

    size: int = _DEFAULT_SIZE
    sort_by: str = ""
    descending: bool = False
    filter: str = ""
    after: Token | None = None

    def token(self, total: int, segment: int, value: Any, key: Any) -> str:
        """The token of the page after one that ends with the given row."""
        shown = value.isoformat() if isinstance(value, dt.datetime) else value
        token = Token(self.sort_by, self.descending, self.filter, total, segment, shown, key)
        return token.encoded()


def list_options(request: web.Request, sort_field: str = "sort_by") -> ListOptions:
    """Reads the query of a list; raises :class:`InvalidArgumentError`."""
    given = query_of(request, sort_field)
    sort_by, descending = _sort(given)
    wanted = query_of(request, "filter")
    token = query_of(request, "page_token")
    size = _size(query_of(request, "page_size"))
    if not token:
        return ListOptions(size, sort_by, descending, wanted)
    after = _decode(token)
    if given and (sort_by, descending) != (after.sort_by, after.descending):
        raise InvalidArgumentError("page_token: sort_by differs from that of the first page")
    if wanted and wanted != after.filter:
        raise InvalidArgumentError("page_token: filter differs from that of the first page")
    return ListOptions(size, after.sort_by, after.descending, after.filter, after)


def _sort(text: str) -> tuple[str, bool]:
    words = text.split()
    if not words:
        return "", False
    if len(words) > 2 or (len(words) == 2 and words[1].lower() not in ("asc", "desc")):
        raise InvalidArgumentError(
            f'sort_by: "field asc" or "field desc" is expected, not {text!r}'
        )
    # Names of fields may be written in capitals, names of metrics are the users' own.
    field = words[0] if words[0].startswith("metric:") else words[0].lower()
    return field, len(words) == 2 and words[1].lower() == "desc"


def _size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError:
        raise InvalidArgumentError(f"page_size: a number is expected, not {text!r}") from None
    if size < 0:
        raise InvalidArgumentError("page_size: must not be negative")
    return min(size or _DEFAULT_SIZE, _MAX_SIZE)


def _decode(text: str) -> Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Token)
    except (ValueError, msgspec.DecodeError):
        raise InvalidArgumentError("page_token: not a token of this API") from None
