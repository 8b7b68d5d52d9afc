"""Fetching from web servers that send the client elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactAway

SENT = {"Authorization": "Bearer secret", "X-Note": "kept"}


class Server(ThreadingHTTPServer):
    """Sends whoever asks for a path of ``elsewhere`` there, and answers all others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.elsewhere: dict[str, str] = {}
        self.body, self.promised = b"", 0
        self.seen: list[tuple[str, str | None, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append(
            (self.path, self.headers.get("Authorization"), self.headers.get("X-Note"))
        )
        where = self.server.elsewhere.get(self.path)
        self.send_response(302 if where else 200)
        if where:
            self.send_header("Location", where)
        self.send_header("Content-Length", "0" if where else str(self.server.promised))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_credentials_stay_with_the_host_they_are_for(tmp_path: Path) -> None:
    with serving() as store, serving() as cdn:
        store.elsewhere = {"/old": "/new", "/new": f"{cdn.url}/file"}
        web.save(f"{store.url}/old", tmp_path / "file", SENT)
        assert store.seen == [("/old", "Bearer secret", "kept"), ("/new", "Bearer secret", "kept")]
        assert cdn.seen == [("/file", None, "kept")]


def test_a_header_may_be_for_one_host_only(tmp_path: Path) -> None:
    with serving() as store, serving() as cdn:
        store.elsewhere = {"/old": "/new", "/new": f"{cdn.url}/file"}
        web.save(f"{store.url}/old", tmp_path / "file", SENT, secrets=["x-note"])
        assert store.seen[-1] == ("/new", "Bearer secret", "kept")
        assert cdn.seen == [("/file", None, None)]


def test_the_user_in_an_address_signs_in(tmp_path: Path) -> None:
    with serving() as store:
        address = store.url.replace("://", "://me:pass%20word@")
        web.save(f"{address}/file", tmp_path / "file")
        assert store.seen == [("/file", "Basic bWU6cGFzcyB3b3Jk", None)]
        store.elsewhere = {"/old": "/new"}
        web.save(f"{address}/old", tmp_path / "file")
        assert store.seen[-1] == ("/new", "Basic bWU6cGFzcyB3b3Jk", None)


def test_the_user_in_an_address_stays_with_its_host(tmp_path: Path) -> None:
    with serving() as store, serving() as cdn:
        store.elsewhere = {"/file": f"{cdn.url}/file"}
        web.save(f"{store.url.replace('://', '://me:secret@')}/file", tmp_path / "file")
        assert cdn.seen == [("/file", None, None)]


def test_an_answer_that_ends_too_early_is_no_file(tmp_path: Path) -> None:
    with serving() as store:
        store.body, store.promised = b"half", 8
        with pytest.raises(ArtifactAway, match=r"127\.0\.0\.1:\d+ broke off: 4 more bytes"):
            web.save(f"{store.url}/file", tmp_path / "file")
        with pytest.raises(ArtifactAway, match=r"broke off: IncompleteRead\(4 bytes read"):
            web.get(f"{store.url}/file")
