"""A stream of HTTP/2, as one side of a call that is passed on.

Its events go to a receiver by plain calls, without a task or a queue between the two sides.
Backpressure is the stream's own: what was received is given back to its window when the other side
has sent it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

__all__ = ["WINDOW", "Headers", "Line", "Receiver", "Stream"]

Headers = Sequence[tuple[bytes, bytes]]

WINDOW: Final = 1 << 19
"""Bytes of a stream that may be under way to a reader that has taken none of them."""


class Line(Protocol):
    """What a stream needs of its connection."""

    lost: bool

    def room(self, stream: Stream) -> int:
        """How many bytes of a stream may be sent now; -1 while nothing may be."""

    def send_headers(self, stream: Stream, headers: Headers, ended: bool) -> None:
        """Sends headers of a stream."""

    def send_piece(self, stream: Stream, piece: bytes, ended: bool) -> None:
        """Sends data of a stream, for which there is room."""

    def give_back(self, stream: Stream, size: int) -> None:
        """Opens a stream's window by ``size``."""

    def reset(self, stream: Stream, code: int) -> None:
        """Resets a stream, if it is still open."""


class Receiver(Protocol):
    """What is told of a stream's far side; nothing more after the end or a break."""

    def received_headers(self, headers: Headers, ended: bool) -> None:
        """Headers came; of a request only those that opened the stream do not come this way."""

    def received_data(self, data: bytes, ended: bool) -> None:
        """Data came; whoever is done with it calls :meth:`Stream.consumed`."""

    def broke(self, code: int, untouched: bool) -> None:
        """The stream was reset or its connection lost; ``untouched`` if it was never worked on."""


class Stream:
    """One exchange, as this side sees it."""

    __slots__ = (
        *("_begun", "_due", "_last", "_line", "_out"),
        *("ended", "heard", "id", "receiver", "sent", "since"),
    )

    def __init__(self, line: Line, id_: int, since: float = 0.0) -> None:
        self._line = line
        self.id = id_
        self.since = since
        """When the far side opened it, by the event loop's time."""
        self.receiver: Receiver | None = None
        self.ended = False
        """Whether nothing more is to be sent."""
        self.sent = False
        """Whether all of it was sent."""
        self.heard = False
        """Whether the far side has said all it has to say."""
        self._out: deque[tuple[bytes, bool, Callable[[int], None] | None]] = deque()
        self._begun = 0
        """How much has gone out of the first of what waits."""
        self._last: Headers | None = None
        self._due = 0

    def send_headers(self, headers: Headers, ended: bool = False) -> None:
        """Sends headers, or trailers if ``ended``; they wait for the data before them."""
        if self.ended or self._line.lost:
            return
        self.ended = ended
        if self._out:
            self._last = headers
        else:
            self._line.send_headers(self, headers, ended)

    def send_data(
        self, data: bytes, ended: bool = False, sent: Callable[[int], None] | None = None
    ) -> None:
        """Sends data as the far side takes it; ``sent`` is told how much went out."""
        if self.ended or self._line.lost:
            return
        self.ended = ended
        self._out.append((data, ended, sent))
        self.flush()

    @property
    def waits(self) -> bool:
        """Whether there is something to be sent that the far side has not taken yet."""
        return bool(self._out)

    def flush(self) -> None:
        """Sends what waits, as far as the window reaches."""
        while self._out and (room := self._line.room(self)) > -1:
            data, ended, sent = self._out[0]
            if not room and self._begun < len(data):
                return
            piece = data[self._begun : self._begun + room]
            self._begun += len(piece)
            whole = self._begun == len(data)
            if whole:
                self._out.popleft()
                self._begun = 0
            self._line.send_piece(self, piece, ended and whole)
            if sent is not None:
                sent(len(piece))
        if not self._out and self._last is not None:
            headers, self._last = self._last, None
            self._line.send_headers(self, headers, True)

    def consumed(self, size: int) -> None:
        """Gives back to the far side what its data took of the window."""
        self._due += size
        if self._due >= WINDOW // 2:
            due, self._due = self._due, 0
            self._line.give_back(self, due)

    def reset(self, code: int) -> None:
        """Breaks the stream off."""
        self._out.clear()
        self._begun = 0
        self._last = None
        self.receiver = None
        self.ended = True
        self._line.reset(self, code)
