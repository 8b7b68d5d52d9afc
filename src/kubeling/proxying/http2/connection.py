"""A connection of HTTP/2, for whoever passes its streams on.

The connection's own window is given back at once, so that one slow reader holds up nobody else.
What is to be sent in one turn of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from kubeling.proxying.http2.stream import WINDOW, Headers, Receiver, Stream

__all__ = ["Connection", "Opened"]

_CONNECTION_WINDOW: Final = 1 << 26
_FRAME: Final = 1 << 18
_HEADERS: Final = 1 << 16
_AT_ONCE: Final = 1024
_LAST_STREAM: Final = (1 << 31) - 3

Opened = Callable[[Stream, Headers, bool], Receiver | None]
"""Receives a stream that the far side opens, its headers, and whether that is all of it."""


class _Lasting(H2Connection):
    """Takes GOAWAY as RFC 9113 means it: no new streams, while those there are go on."""

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[events.Event]]:
        event = events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]


class Connection(asyncio.Protocol):
    """A connection; ``opened`` is told of the streams that the far side opens."""

    def __init__(
        self,
        opened: Opened | None = None,
        closed: Callable[[Connection], None] | None = None,
    ) -> None:
        client = opened is None
        self._opened = opened
        self._closed = closed
        self._h2 = _Lasting(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=client,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _FRAME,
                SettingCodes.MAX_CONCURRENT_STREAMS: _AT_ONCE,
                SettingCodes.MAX_HEADER_LIST_SIZE: _HEADERS,
            },
        )
        self._h2.max_inbound_frame_size = _FRAME
        self._h2.decoder.max_header_list_size = _HEADERS
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self._due = 0
        self._paused = False
        self._scheduled = False
        self._leaving = False
        self.lost = False

    # As asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
        self._schedule()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except ProtocolError:
            # h2 has noted the GOAWAY that says why.
            self._write()
            if self._transport is not None:
                self._transport.close()
            return
        if self._due >= _CONNECTION_WINDOW // 2:
            due, self._due = self._due, 0
            self._h2.increment_flow_control_window(due)
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            self._break(stream, ErrorCodes.CONNECT_ERROR, untouched=False)
        if self._closed is not None:
            self._closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
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
            and len(self._streams) < min(_AT_ONCE, self._h2.remote_settings.max_concurrent_streams)
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
        if self._paused or self.lost:
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
        stream = Stream(self, event.stream_id)
        if self._opened is None or self._leaving:
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

    def _break(self, stream: Stream, code: int, *, untouched: bool) -> None:
        stream.ended = True
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.broke(code, untouched)

    def _flush_all(self) -> None:
        for stream in list(self._streams.values()):
            stream.flush()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self.lost:
            self._transport.write(data)
