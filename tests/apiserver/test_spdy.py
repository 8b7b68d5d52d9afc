"""SPDY/3.1 frames, as kubectl sends them."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.spdy import (
    Data,
    Frame,
    GoAway,
    Ping,
    Reset,
    SpdyDecoder,
    SpdyEncoder,
    SpdyError,
    SynReply,
    SynStream,
)

streams = st.integers(1, 2**31 - 1)
words = st.text("abcdefghijklmnopqrstuvwxyz-/.0123456789 ", max_size=20)
headers = st.dictionaries(words, words, max_size=4)
frames = st.lists(
    st.one_of(
        st.builds(SynStream, streams, headers, st.booleans()),
        st.builds(SynReply, streams, headers, st.booleans()),
        st.builds(Data, streams, st.binary(min_size=1, max_size=300), st.booleans()),
        st.builds(Reset, streams, st.integers(1, 11)),
        st.builds(Ping, st.integers(0, 2**32 - 1)),
        st.builds(GoAway, streams),
    ),
    max_size=8,
)


def joined(found: list[Frame]) -> list[Frame]:
    """Data of one stream as one frame, however it came."""
    result: list[Frame] = []
    for frame in found:
        last = result[-1] if result else None
        match last, frame:
            case Data(stream, begun, False), Data(other, data, fin) if stream == other:
                result[-1] = Data(stream, begun + data, fin)
            case _:
                result.append(frame)
    return result


@given(frames, st.integers(1, 50))
def test_frames_are_read_as_written_however_they_arrive(sent: list[Frame], size: int) -> None:
    encoder, decoder = SpdyEncoder(), SpdyDecoder()
    data = b"".join(encoder.encode(frame) for frame in sent)
    found = [
        frame
        for start in range(0, len(data), size)
        for frame in decoder.feed(data[start : start + size])
    ]
    assert joined(found) == joined(sent)


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_waited_for(data: bytes) -> None:
    with contextlib.suppress(SpdyError):
        list(SpdyDecoder().feed(data))


def test_headers_begin_with_the_protocols_words() -> None:
    encoded = SpdyEncoder().encode(SynStream(1, {"streamtype": "error"}))
    # A zlib stream names its dictionary by the checksum, which other implementations compare.
    assert encoded[18:24] == bytes.fromhex("78bb") + (0xE3C6A7C2).to_bytes(4, "big")


def test_a_large_frame_is_handed_on_in_parts() -> None:
    decoder = SpdyDecoder()
    head = struct.pack(">II", 5, 1 << 24 | 10)
    assert list(decoder.feed(head)) == []
    assert list(decoder.feed(b"123456")) == [Data(5, b"123456")]
    assert list(decoder.feed(b"7890")) == [Data(5, b"7890", fin=True)]


def test_other_versions_and_oversized_headers_are_refused() -> None:
    with pytest.raises(SpdyError, match="version 2"):
        list(SpdyDecoder().feed(struct.pack(">III", 0x80020006, 4, 1)))
    with pytest.raises(SpdyError, match="too large"):
        list(SpdyDecoder().feed(struct.pack(">II", 0x80030001, 1 << 20)))
    bomb = SpdyEncoder().encode(SynStream(1, {"a": "x" * 200_000}))
    with pytest.raises(SpdyError, match="too large"):
        list(SpdyDecoder().feed(bomb))
