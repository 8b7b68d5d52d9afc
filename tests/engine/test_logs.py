"""Reading logs as kubectl asks for them."""

import asyncio
import datetime as dt
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.node import Node, container, pod

from kubeling.engine.changes import FileChanges
from kubeling.engine.logs import LogOptions, last_text, read_log
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.sandbox.pump import Log, Pump, records
from kubeling.kube.errors import BadRequest, NotFound


def stamp(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000000000Z"


def written(folder: Path, *pieces: bytes) -> ContainerPaths:
    paths = ContainerPaths(folder)
    log = b"".join(records(p, stamp(n), "stdout") for n, p in enumerate(pieces))
    paths.log.write_bytes(log)
    return paths


async def read(paths: ContainerPaths, **options: object) -> bytes:
    changes = FileChanges()
    pieces = [p async for p in read_log(paths, changes, LogOptions(**options))]  # type: ignore[arg-type]
    return b"".join(pieces)


@given(st.lists(st.binary(max_size=30), max_size=8))
async def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    paths = written(tmp_path_factory.mktemp("log"), *pieces)
    assert await read(paths) == b"".join(pieces)


@given(st.lists(st.sampled_from([b"a\n", b"b", b"\n", b"cc\ndd\n"]), max_size=8), st.integers(0, 6))
async def test_the_tail_is_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], lines: int
) -> None:
    whole = b"".join(pieces)
    paths = written(tmp_path_factory.mktemp("log"), *pieces)
    expected = b"".join(whole.splitlines(keepends=True)[-lines:] if lines else [])
    assert await read(paths, tail_lines=lines) == expected


async def test_timestamps_since_and_limit(tmp_path: Path) -> None:
    paths = written(tmp_path, b"one\n", b"tw", b"o\n", b"three\n")
    assert await read(paths, timestamps=True) == (
        f"{stamp(0)} one\n{stamp(1)} two\n{stamp(3)} three\n".encode()
    )
    since = dt.datetime(2026, 1, 1, 0, 0, 3, tzinfo=dt.UTC)
    assert await read(paths, since=since) == b"three\n"
    assert await read(paths, limit_bytes=5) == b"one\nt"
    assert last_text(paths.log, lines=1) == "three\n"


async def test_one_stream_alone(node: Node) -> None:
    script = "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf more"
    await node.run(pod("p", container(script=script)))
    assert await node.logs("p") == "out\nerr\nmore"
    assert await node.logs("p", stream="Stdout") == "out\nmore"
    assert await node.logs("p", stream="Stderr") == "err\n"


async def test_following_sees_output_as_it_comes_and_ends_with_the_container(node: Node) -> None:
    script = "echo first; until test -e go; do sleep 0.02; done; printf last"
    await node.create(pod("p", container(script=script)))
    await node.running("p")
    stream = node.engine.node_api.logs("default", "p", follow=True)
    async with asyncio.timeout(10):
        assert await anext(stream) == b"first\n"
        (node.engine.config.workspace / "go").touch()
        assert b"".join([piece async for piece in stream]) == b"last"


async def test_output_without_a_newline_can_be_followed(node: Node) -> None:
    await node.create(pod("p", container(script="printf 50%%; sleep 30")))
    await node.running("p")
    stream = node.engine.node_api.logs("default", "p", follow=True)
    async with asyncio.timeout(10):
        assert await anext(stream) == b"50%"
    await stream.aclose()  # type: ignore[attr-defined]


class Streams:
    """A container's two output pipes and what the log makes of them."""

    def __init__(self, folder: Path) -> None:
        self.paths = ContainerPaths(folder)
        log = Log(os.open(self.paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        self.ends = {}
        self.pumps = {}
        for stream in ("stdout", "stderr"):
            out, self.ends[stream] = os.pipe()
            self.pumps[stream] = Pump(out, log, stream)

    def say(self, stream: str, text: bytes) -> None:
        os.write(self.ends[stream], text)
        self.pumps[stream].move()


async def test_lines_of_standard_output_and_error_do_not_mix(tmp_path: Path) -> None:
    streams = Streams(tmp_path)
    streams.say("stdout", b"loss=")
    streams.say("stderr", b"a warn")
    streams.say("stdout", b"0.5\nnext")
    streams.say("stderr", b"ing\n")
    for pump in streams.pumps.values():
        pump.drain()
    assert await read(streams.paths) == b"loss=0.5\na warning\nnext"


async def test_a_piece_that_was_shown_ends_where_the_other_stream_comes_in(tmp_path: Path) -> None:
    streams = Streams(tmp_path)
    streams.say("stderr", b" 50%")
    streams.pumps["stderr"].flush()
    streams.say("stdout", b"loss=0.5\n")
    streams.say("stderr", b"\r100%\n")
    assert await read(streams.paths) == b" 50%\nloss=0.5\n\r100%\n"


async def test_a_line_without_end_is_not_kept_in_memory(tmp_path: Path) -> None:
    streams = Streams(tmp_path)
    streams.say("stdout", b"x" * 20_000)
    assert await read(streams.paths) == b"x" * 20_000


async def test_large_output_is_complete(node: Node) -> None:
    await node.run(pod("p", container(script="seq 1 200000")))
    assert (await node.logs("p")).count("\n") == 200000


async def test_until_a_container_has_started_again_its_log_is_the_last_ones(node: Node) -> None:
    created = await node.create(pod("p", container(script="echo first; exit 1")))
    await node.until("p", lambda found: found["status"].get("phase") == "Failed")
    paths = node.engine.config.paths.pod(created["metadata"]["uid"])
    paths.container("main", 1).root.mkdir()
    assert await node.logs("p") == "first\n"
    assert await node.logs("p", previous=True) == "first\n"


async def test_mistakes_are_explained(node: Node) -> None:
    with pytest.raises(NotFound, match='pods "absent" not found'):
        await node.logs("absent")
    await node.run(pod("p", container("a", "true"), container("b", "true")))
    with pytest.raises(BadRequest, match="choose one of"):
        await node.logs("p")
    with pytest.raises(BadRequest, match="not valid for pod"):
        await node.logs("p", "c")
    with pytest.raises(BadRequest, match="previous terminated container"):
        await node.logs("p", "a", previous=True)
