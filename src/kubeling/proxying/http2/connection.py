"""A connection of HTTP/2, for whoever passes its streams on.

The connection's own window is given back at once, so that one slow reader holds up nobody else:
what waits for slow readers is bounded by the streams' windows and by how many of them there may be.
What is to be sent in one turn of the event loop goes out in one write, and is not more than a
socket takes. A far side that was silent for a while is asked whether it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from kubeling.proxying.http2.machine import AT_ONCE, Machine
from kubeling.proxying.http2.patience import FloodError
from kubeling.proxying.http2.silence import Silence, keep_alive
from kubeling.proxying.http2.stream import Headers, Receiver, Stream

__all__ = ["Connection", "Opened"]

_CONNECTION_WINDOW: Final = 1 << 26
_TURN: Final = 1 << 18
_UNREAD: Final = 1 << 22
_SILENT_SECONDS: Final = 30.0
_LINGER_SECONDS: Final = 2.0
_ARE_YOU_THERE: Final = b"kubeling"
_LAST_STREAM: Final = (1 << 31) - 3

Opened = Callable[[Stream, Headers, bool], Receiver | None]
"""Receives a stream that the far side opens, its headers, and whether that is all of it."""


class Connection(asyncio.Protocol):
    """A connection; ``opened`` is told of the streams that the far side opens."""

    def __init__(
        self,
        opened: Opened | None = None,
        closed: Callable[[Connection], None] | None = None,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        """One that was opened by the far side is asked whether it is there after some seconds."""
        self._opened = opened
        self._closed = closed
        self._h2 = Machine(client=opened is None)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self._due = 0
        self._unwritten = 0
        self._paused = False
        self._scheduled = False
        self._leaving = False
        self._silent_seconds = silent_seconds
        self._silence: Silence | None = None
        self.lost = False

    # As asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))
        if self._opened is not None:
            # Not the other way round: servers of gRPC take pings for an attack.
            self._silence = Silence(self._silent_seconds, self._ask, self.abort)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
        self._schedule()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self.lost:
            return
        if self._silence is not None:
            self._silence.heard()
        if self._paused and self._transport.get_write_buffer_size() > _UNREAD:
            # It makes this side say more and more, and reads none of it.
            self._transport.abort()
            return
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except ProtocolError as error:
            if isinstance(error, FloodError):
                with contextlib.suppress(ProtocolError):
                    self._h2.close_connection(error.error_code)
            # Of what it finds itself, h2 has noted the GOAWAY that says why.
            self._write()
            self._lose()
            return
        if self._due >= _CONNECTION_WINDOW // 2:
            due, self._due = self._due, 0
            self._h2.increment_flow_control_window(due)
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._silence is not None:
            self._silence.end()
        self._break_all()
        if self._closed is not None:
            self._closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._silence is not None:
            # Who takes what is sent is there; the question waits behind all of that.
            self._silence.heard()
        self._flush_all()

    # For whoever uses the connection

    @property
    def busy(self) -> bool:
        """Whether streams are open."""
        return bool(self._streams)

    @property
    def has_room(self) -> bool:
        """Whether a further stream may be opened from here."""
        return (
            not self.lost
            and not self._leaving
            and len(self._streams) < min(AT_ONCE, self._h2.remote_settings.max_concurrent_streams)
            and self._h2.highest_outbound_stream_id < _LAST_STREAM
        )

    def open(self, headers: Headers, receiver: Receiver, ended: bool = False) -> Stream:
        """Opens a stream with a request."""
        stream = Stream(self, self._h2.get_next_available_stream_id())
        stream.receiver = receiver
        self._streams[stream.id] = stream
        stream.send_headers(headers, ended)
        return stream

    def leave(self) -> None:
        """Takes no more streams; closes when those there are have ended."""
        if self.lost or self._leaving or self._transport is None:
            return
        self._leaving = True
        self._write()
        # h2 would take its own GOAWAY for the end of the streams, too.
        last = self._h2.highest_inbound_stream_id
        self._transport.write(GoAwayFrame(0, last_stream_id=last).serialize())
        self._close_if_left()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    # For streams

    def room(self, stream: Stream) -> int:
        """How many bytes of a stream may be sent now; -1 while nothing may be."""
        if self._paused or self.lost or self._unwritten >= _TURN:
            return -1
        try:
            window = self._h2.local_flow_control_window(stream.id)
        except ProtocolError:
            return -1
        return max(0, min(window, self._h2.max_outbound_frame_size))

    def send_headers(self, stream: Stream, headers: Headers, ended: bool) -> None:
        """Sends headers of a stream."""
        with contextlib.suppress(ProtocolError):
            self._h2.send_headers(stream.id, headers, end_stream=ended)
        self._said(stream, ended)

    def send_piece(self, stream: Stream, piece: bytes, ended: bool) -> None:
        """Sends data of a stream, for which there is room."""
        with contextlib.suppress(ProtocolError):
            self._h2.send_data(stream.id, piece, end_stream=ended)
        self._unwritten += len(piece)
        self._h2.patience.sent(len(piece))
        self._said(stream, ended)

    def give_back(self, stream: Stream, size: int) -> None:
        """Opens a stream's window by ``size``."""
        if not self.lost:
            with contextlib.suppress(ProtocolError):
                self._h2.increment_flow_control_window(size, stream.id)
            self._schedule()

    def reset(self, stream: Stream, code: int) -> None:
        """Resets a stream, if it is still open."""
        self._streams.pop(stream.id, None)
        if not self.lost:
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(stream.id, code)
            self._schedule()
            self._close_if_left()

    def _said(self, stream: Stream, ended: bool) -> None:
        self._schedule()
        if ended:
            stream.sent = True
            self._close_if_over(stream)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.DataReceived():
                self._received(event)
            case events.RequestReceived():
                self._request(event)
            case events.ResponseReceived() | events.TrailersReceived():
                stream = self._heard(event.stream_id, event.stream_ended is not None)
                if stream is not None and stream.receiver is not None:
                    headers = cast(Headers, event.headers)
                    stream.receiver.received_headers(headers, event.stream_ended is not None)
            case events.WindowUpdated():
                stream = self._streams.get(event.stream_id)
                if stream is not None:
                    stream.flush()
                elif not event.stream_id:
                    self._flush_all()
            case events.RemoteSettingsChanged():
                self._flush_all()
            case events.StreamReset():
                if stream := self._streams.pop(event.stream_id, None):
                    code = int(event.error_code or 0)
                    self._break(stream, code, untouched=code == ErrorCodes.REFUSED_STREAM)
                    self._close_if_left()
                    if self._opened is not None:
                        self._h2.patience.reset(asyncio.get_running_loop().time() - stream.since)
            case events.ConnectionTerminated():
                self._leave_after(event.last_stream_id or 0)

    def _received(self, event: events.DataReceived) -> None:
        size, data = event.flow_controlled_length, event.data
        self._due += size
        stream = self._heard(event.stream_id, event.stream_ended is not None)
        if stream is not None and stream.receiver is not None:
            stream.consumed(size - len(data))
            stream.receiver.received_data(data, event.stream_ended is not None)

    def _request(self, event: events.RequestReceived) -> None:
        stream = Stream(self, event.stream_id, asyncio.get_running_loop().time())
        if self._opened is None or self._leaving or len(self._streams) >= AT_ONCE:
            stream.reset(ErrorCodes.REFUSED_STREAM)
            return
        self._streams[stream.id] = stream
        stream.heard = event.stream_ended is not None
        stream.receiver = self._opened(stream, cast(Headers, event.headers), stream.heard)

    def _heard(self, id_: int, ended: bool) -> Stream | None:
        """The stream that something came on, and whether that was the last of it."""
        stream = self._streams.get(id_)
        if stream is not None and ended:
            stream.heard = True
            self._close_if_over(stream)
        return stream

    def _close_if_over(self, stream: Stream) -> None:
        if stream.heard and stream.sent:
            self._streams.pop(stream.id, None)
            self._close_if_left()

    def _close_if_left(self) -> None:
        if self._leaving and not self._streams and self._transport is not None:
            self._write()
            self._transport.close()

    def _leave_after(self, last: int) -> None:
        """The far side takes no more streams than those up to ``last``."""
        self._leaving = True
        for id_, stream in list(self._streams.items()):
            if id_ > last and id_ % 2 == self._h2.config.client_side:
                del self._streams[id_]
                self._break(stream, ErrorCodes.REFUSED_STREAM, untouched=True)
        self._close_if_left()

    def _lose(self) -> None:
        """Ends everything now, but closes only when the far side has had time to read why."""
        assert self._transport is not None
        self._break_all()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    def _break_all(self) -> None:
        self.lost = True
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            self._break(stream, ErrorCodes.CONNECT_ERROR, untouched=False)

    def _break(self, stream: Stream, code: int, *, untouched: bool) -> None:
        stream.ended = True
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.broke(code, untouched)

    def _flush_all(self) -> None:
        for stream in list(self._streams.values()):
            if self._unwritten >= _TURN:
                break
            stream.flush()
            if stream.waits and stream.id in self._streams:
                # The next turn is for others first.
                self._streams[stream.id] = self._streams.pop(stream.id)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        data = self._h2.data_to_send()
        full, self._unwritten = self._unwritten >= _TURN, 0
        if data and self._transport is not None and not self.lost:
            self._transport.write(data)
        if full and not self._paused:
            self._flush_all()

    def _ask(self) -> None:
        """Has a silent far side say something."""
        with contextlib.suppress(ProtocolError):
            self._h2.ping(_ARE_YOU_THERE)
        self._schedule()
