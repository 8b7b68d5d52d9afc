"""What travels with a request: W3C's ``traceparent`` and ``tracestate``.

Identifiers stay the text that they are on the wire; most of them are only passed on.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["TRACEPARENT", "TRACESTATE", "Headers", "Remote"]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

Headers = Mapping[str, str]
"""A request's headers, by name in lower case, or in any case if the mapping knows no case."""

_FORM: Final = r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
_LONGEST_STATE: Final = 512
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class Remote(msgspec.Struct, frozen=True, gc=False):
    """The span that a request came from, and whether its trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str

    @classmethod
    def of(cls, headers: Headers) -> Remote | None:
        """Where a request came from; nothing if it does not say, or says what W3C has ignored."""
        given = headers.get(TRACEPARENT)
        found = _form().fullmatch(given.strip()) if given else None
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        if version == "ff" or (rest and version == "00"):
            return None
        if trace_id == _NO_TRACE or span_id == _NO_SPAN:
            return None
        state = headers.get(TRACESTATE, "")
        if len(state) > _LONGEST_STATE:
            state = ""
        return cls(trace_id, span_id, bool(int(flags, 16) & 1), state)


@functools.cache
def _form() -> re.Pattern[str]:
    """Compiled when the first request is traced, as most servers trace none."""
    return re.compile(_FORM)
