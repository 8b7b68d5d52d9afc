"""Reading logs as kubectl asks for them."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.node import Node, container, pod

from kubeling.engine.changes import FileChanges
from kubeling.engine.logs import LogOptions, last_text, read_log
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.sandbox.pump import records
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


async def test_large_output_is_complete(node: Node) -> None:
    await node.run(pod("p", container(script="seq 1 200000")))
    assert (await node.logs("p")).count("\n") == 200000


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
