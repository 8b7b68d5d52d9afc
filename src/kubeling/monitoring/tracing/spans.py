"""Spans as they are recorded: plain objects, handed over when they end."""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from kubeling.monitoring.tracing.context import TRACEPARENT, TRACESTATE, Headers, Remote

__all__ = ["Kind", "Sampler", "Span", "Tracer", "current_span"]

Sampler = Callable[[str, bool | None], bool]
"""Whether a trace is recorded, by its identifier and by what the caller said, if one did."""

current_span: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
"""The span that what is being done belongs to."""

_nothing: Final[Mapping[str, Any]] = {}


class Kind(enum.IntEnum):
    """OpenTelemetry's kinds, by their numbers in the protocol."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Span:
    """Something that is done for a request, from when it was made until :meth:`end`.

    Of a trace that is not recorded there are spans, too, as what is asked of others has to carry
    the decision; they keep nothing. As a context manager a span is the current one, and ends, with
    the class of what was raised as its error: what errors of models say may be a client's data.
    """

    __slots__ = (
        "_tracer",
        "attributes",
        "description",
        "ended",
        "events",
        "failed",
        "kind",
        "name",
        "parent_id",
        "sampled",
        "span_id",
        "started",
        "state",
        "token",
        "trace_id",
    )

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: Kind,
        trace_id: str,
        parent_id: str,
        sampled: bool,
        state: str,
        attributes: Mapping[str, Any],
        started: int = 0,
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = f"{tracer.bits(64):016x}"
        self.parent_id = parent_id
        self.sampled = sampled
        self.state = state
        self.failed = False
        self.description = ""
        self.ended = 0
        if sampled:
            self.started = started or time.time_ns()
            self.attributes = dict(attributes)
            self.events: list[tuple[str, int, Mapping[str, Any]]] = []

    def child(
        self,
        name: str,
        kind: Kind = Kind.INTERNAL,
        attributes: Mapping[str, Any] = _nothing,
        started: int = 0,
    ) -> Span:
        """A span of what is done for this one."""
        return Span(
            self._tracer,
            name,
            kind,
            self.trace_id,
            self.span_id,
            self.sampled,
            self.state,
            attributes,
            started,
        )

    def set(self, name: str, value: Any) -> None:
        """Adds an attribute."""
        if self.sampled:
            self.attributes[name] = value

    def event(self, name: str, attributes: Mapping[str, Any] = _nothing) -> None:
        """Notes something that happens now."""
        if self.sampled:
            self.events.append((name, time.time_ns(), attributes))

    def fail(self, kind: str, description: str = "") -> None:
        """What it was for did not come about; ``kind`` is a status, or the class of an error."""
        if self.sampled:
            self.failed, self.description = True, description
            self.attributes["error.type"] = kind

    def end(self, at: int = 0) -> None:
        """Hands the span over, the first time it is called."""
        if self.sampled and not self.ended:
            self.ended = at or time.time_ns()
            self._tracer.record(self)

    @property
    def traceparent(self) -> str:
        """What tells others to go on from here."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def headers(self) -> dict[str, str]:
        """What a request carries that is made for this span."""
        found = {TRACEPARENT: self.traceparent}
        if self.state:
            found[TRACESTATE] = self.state
        return found

    def __enter__(self) -> Span:
        self.token = current_span.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        current_span.reset(self.token)
        if kind is not None:
            self.fail(kind.__qualname__)
        self.end()


class Tracer:
    """Makes spans; those of recorded traces go to ``record`` when they end, which never waits."""

    def __init__(
        self,
        sampler: Sampler,
        record: Callable[[Span], None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._sampler = sampler
        self.record = record
        self.close = close
        """Sends what was recorded last; takes a few seconds if nobody takes it."""
        # Of its own: processes are forked here by ways that Python does not hear of.
        self.bits = random.Random(random.SystemRandom().getrandbits(256)).getrandbits

    def request(
        self,
        name: str,
        headers: Headers,
        attributes: Mapping[str, Any] = _nothing,
        kind: Kind = Kind.SERVER,
    ) -> Span:
        """The span of a request that came in, within the trace of its caller."""
        remote = Remote.of(headers)
        if remote is None:
            trace_id = f"{self.bits(128):032x}"
            sampled = self._sampler(trace_id, None)
            return Span(self, name, kind, trace_id, "", sampled, "", attributes)
        sampled = self._sampler(remote.trace_id, remote.sampled)
        return Span(
            self, name, kind, remote.trace_id, remote.span_id, sampled, remote.state, attributes
        )
