"""HTTP/2 as h2 has it, but for where that is too strict or too patient for a proxy."""

from __future__ import annotations

from typing import Any, Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame

from kubeling.proxying.http2.patience import FloodError, Patience
from kubeling.proxying.http2.stream import WINDOW

__all__ = ["AT_ONCE", "Machine"]

AT_ONCE: Final = 128
"""Streams of a connection at a time."""
_BEYOND: Final = 128
"""Further ones, by who has not seen the limit yet: they are refused one by one."""
_FRAME: Final = 1 << 18
_HEADERS: Final = 1 << 16


class Machine(H2Connection):
    """Reads and writes frames; all of what is not right ends in h2's ``ProtocolError``.

    GOAWAY means what RFC 9113 says, no new streams, while those there are go on. Streams beyond the
    limit are left to be refused, where h2 would make the whole connection pay.
    """

    def __init__(self, *, client: bool) -> None:
        super().__init__(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values = {
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.MAX_FRAME_SIZE: _FRAME,
            SettingCodes.MAX_CONCURRENT_STREAMS: AT_ONCE,
            SettingCodes.MAX_HEADER_LIST_SIZE: _HEADERS,
        }
        if client:
            # Nobody here would take what a server sends unasked.
            values[SettingCodes.ENABLE_PUSH] = 0
        self.local_settings = Settings(client=client, initial_values=values)
        self.max_inbound_frame_size = _FRAME
        self.decoder.max_header_list_size = _HEADERS
        self.patience = Patience()

    @property
    def open_inbound_streams(self) -> int:
        return max(0, super().open_inbound_streams - _BEYOND)

    def receive_data(self, data: Any) -> list[events.Event]:
        found = super().receive_data(data)
        if sum(len(frame.data) for frame in self.incoming_buffer._headers_buffer) > _HEADERS:
            self._terminate_connection(FloodError.error_code)
            raise FloodError("headers without an end")
        return found

    def _receive_frame(self, frame: Frame) -> list[events.Event]:
        self.patience.meet(frame)
        return super()._receive_frame(frame)

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[events.Event]]:
        event = events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]
