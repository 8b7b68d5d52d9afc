"""Artifacts in the places that workflows name: object stores, web servers, Git repositories."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from tests.support.objectstore import ObjectStoreServer, object_store

from kubeling.artifacts.drivers import driver_of
from kubeling.artifacts.errors import ArtifactDenied, ArtifactError, ArtifactNotFound
from kubeling.artifacts.locations import Location

ENV = {
    "ACCOUNT": "key",
    "SECRET": base64.b64encode(b"secret").decode(),
    "WRONG": "other",
    "NO_OAUTH": json.dumps(
        {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    ),
    "BROKEN": "{}",
}

Place = Callable[[ObjectStoreServer, str, str, bool], dict[str, Any]]


def s3(store: ObjectStoreServer, bucket: str, key: str, known: bool) -> dict[str, Any]:
    keys = {"accessKeySecret": {"env": "ACCOUNT"}, "secretKeySecret": {"env": "SECRET"}}
    host = store.url.removeprefix("http://")
    place = {"kind": "s3", "bucket": bucket, "key": key, "endpoint": host, "insecure": True}
    return {**place, **(keys if known else {})}


def gcs(store: ObjectStoreServer, bucket: str, key: str, known: bool) -> dict[str, Any]:
    keys = {"serviceAccountKeySecret": {"env": "NO_OAUTH"}} if known else {}
    return {"kind": "gcs", "bucket": bucket, "key": key, "endpoint": store.url, **keys}


def azure(store: ObjectStoreServer, bucket: str, key: str, known: bool) -> dict[str, Any]:
    keys = {"accountKeySecret": {"env": "SECRET"}} if known else {}
    return {"kind": "azure", "endpoint": store.azure, "container": bucket, "blob": key, **keys}


def place(found: dict[str, Any]) -> Location:
    return msgspec.convert(found, Location)


@pytest.fixture(name="store")
def _store() -> Iterator[ObjectStoreServer]:
    with object_store(public={}, private={}) as server:
        yield server


@pytest.mark.parametrize("where", [s3, gcs, azure])
def test_files_and_folders_come_back_from_object_stores(
    where: Place, store: ObjectStoreServer, tmp_path: Path
) -> None:
    # An emulator's account of Google sends no token.
    bucket = "public" if where is gcs else "private"
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_bytes(b"a")
    for number in range(4):
        (folder / "deep" / f"{number}").write_bytes(bytes(number))
    for source in (folder, folder / "a b.txt"):
        driver = driver_of(place(where(store, bucket, f"runs/1/{source.name}", True)), ENV)
        driver.save(source)
        driver.load(tmp_path / "back" / source.name)
    assert (tmp_path / "back" / "a b.txt").read_bytes() == b"a"
    found = {
        str(path.relative_to(tmp_path / "back" / "folder")): path.read_bytes()
        for path in (tmp_path / "back" / "folder").rglob("*")
        if path.is_file()
    }
    assert found == {"a b.txt": b"a"} | {f"deep/{n}": bytes(n) for n in range(4)}


@pytest.mark.parametrize("where", [s3, gcs, azure])
def test_a_large_file_goes_up_in_parts(
    where: Place, store: ObjectStoreServer, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (80 << 10))
    driver = driver_of(place(where(store, "public", "large", True)), ENV)
    driver.save(large)
    driver.load(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("where", [s3, gcs, azure])
def test_deleting_takes_the_artifact_and_nothing_beside_it(
    where: Place, store: ObjectStoreServer
) -> None:
    store.buckets["public"] |= {"a/1": b"", "a/2": b"", "a/3": b"", "ab": b"", "b": b""}
    for key in ("a", "b", "nothing"):
        driver_of(place(where(store, "public", key, True)), ENV).delete()
    assert list(store.buckets["public"]) == ["ab"]


@pytest.mark.parametrize("where", [s3, gcs, azure])
def test_what_is_missing_is_named(where: Place, store: ObjectStoreServer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match=r"there is nothing at .*/none$"):
        driver_of(place(where(store, "public", "none", True)), ENV).load(tmp_path / "x")
    with pytest.raises(ArtifactError, match='there is no bucket "nowhere" at 127'):
        driver_of(place(where(store, "nowhere", "none", True)), ENV).load(tmp_path / "x")


@pytest.mark.parametrize("where", [s3, gcs, azure])
def test_a_refusal_says_who_asked(where: Place, store: ObjectStoreServer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactDenied, match="may not be used anonymously"):
        driver_of(place(where(store, "private", "x", False)), ENV).load(tmp_path / "x")
    (tmp_path / "file").touch()
    wrong = {**s3(store, "private", "x", True), "accessKeySecret": {"env": "WRONG"}}
    with pytest.raises(ArtifactDenied, match="may not be used with the given keys"):
        driver_of(place(wrong), ENV).save(tmp_path / "file")


def test_a_key_that_cannot_be_read_is_said(store: ObjectStoreServer) -> None:
    broken = {**gcs(store, "public", "x", False), "serviceAccountKeySecret": {"env": "BROKEN"}}
    with pytest.raises(ArtifactError, match=r"settings of gs://public cannot be used: .*missing"):
        driver_of(place(broken), ENV)


def test_a_secret_that_is_not_there_is_named(store: ObjectStoreServer) -> None:
    with pytest.raises(ArtifactError, match="the environment variable ACCOUNT is not set"):
        driver_of(place(s3(store, "private", "x", True)), {})


@contextmanager
def web_server(files: dict[str, bytes], seen: list[dict[str, str]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({k.lower(): v for k, v in self.headers.items()})
            self._answer(200 if self.path in files else 404, files.get(self.path, b""))

        def do_PUT(self) -> None:
            seen.append({k.lower(): v for k, v in self.headers.items()})
            files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(201, b"")

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            token = {"access_token": f"token for {form}"}
            if self.path == "/form":
                self._answer(200, urlencode(token).encode(), "text/plain; charset=utf-8")
            else:
                self._answer(200, json.dumps(token).encode())

        def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_files_of_web_servers(tmp_path: Path) -> None:
    files, seen = {"/in": b"data"}, list[dict[str, str]]()
    basic = {"usernameSecret": {"env": "ACCOUNT"}, "passwordSecret": {"env": "SECRET"}}
    with web_server(files, seen) as url:
        header = [{"name": "X-Who", "value": "me"}]
        http = place({"kind": "http", "url": f"{url}/in", "headers": header})
        driver_of(http, ENV).load(tmp_path / "in")
        driver_of(place({"kind": "artifactory", "url": f"{url}/out", **basic}), ENV).save(
            tmp_path / "in"
        )
        with pytest.raises(ArtifactNotFound, match="there is nothing at http"):
            driver_of(place({"kind": "http", "url": f"{url}/none"}), ENV).load(tmp_path / "none")
    assert (tmp_path / "in").read_bytes() == files["/out"] == b"data"
    assert seen[0]["x-who"] == "me"
    assert (
        seen[1]["authorization"]
        == "Basic " + base64.b64encode(f"key:{ENV['SECRET']}".encode()).decode()
    )


@pytest.mark.parametrize("answering", ["token", "form"])
def test_a_web_server_may_ask_for_a_token(tmp_path: Path, answering: str) -> None:
    seen: list[dict[str, str]] = []
    with web_server({"/in": b"data"}, seen) as url:
        auth = {
            "clientIDSecret": {"env": "ACCOUNT"},
            "clientSecretSecret": {"env": "SECRET"},
            "tokenURLSecret": {"env": "TOKEN_URL"},
            "scopes": ["read", "write"],
            "endpointParams": [{"key": "audience", "value": "us"}],
        }
        http = place({"kind": "http", "url": f"{url}/in", "auth": {"oauth2": auth}})
        driver_of(http, {**ENV, "TOKEN_URL": f"{url}/{answering}"}).load(tmp_path / "in")
    asked = "grant_type=client_credentials&scope=read+write&audience=us"
    assert seen[0]["authorization"] == f"Bearer token for {asked}"


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    repository = tmp_path / "repository"

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=repository, check=True, capture_output=True)

    repository.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    for number in (1, 2, 3):
        (repository / "number").write_text(str(number))
        git("add", ".")
        git("commit", "--quiet", "--message", f"{number}")
        git("tag", f"v{number}")
    git("checkout", "--quiet", "-b", "side", "v1")
    (repository / "number").write_text("side")
    git("commit", "--quiet", "--all", "--message", "side")
    git("checkout", "--quiet", "main")
    return repository


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({}, "3"),
        ({"revision": "v2"}, "2"),
        ({"revision": "side"}, "side"),
        ({"branch": "side"}, "side"),
        ({"branch": "side", "singleBranch": True, "depth": 1}, "side"),
        ({"revision": "v2", "depth": 1}, "2"),
        ({"fetch": ["refs/tags/v1:refs/tags/first"], "revision": "first"}, "1"),
    ],
)
def test_a_revision_of_a_git_repository(
    wanted: dict[str, Any], number: str, repository: Path, tmp_path: Path
) -> None:
    git = place({"kind": "git", "repo": repository.as_uri(), **wanted})
    driver_of(git, ENV).load(tmp_path / "out")
    assert (tmp_path / "out" / "number").read_text() == number


def test_what_a_repository_lacks_is_named(repository: Path, tmp_path: Path) -> None:
    for wanted, message in (
        ({"repo": repository.as_uri(), "revision": "v9"}, "git fetch: fatal: couldn't find remote"),
        ({"repo": (tmp_path / "none").as_uri()}, "git clone: fatal: .*none"),
    ):
        with pytest.raises(ArtifactError, match=message):
            driver_of(place({"kind": "git", **wanted}), ENV).load(tmp_path / message[:9])
    with pytest.raises(ArtifactError, match="can only be an input"):
        driver_of(place({"kind": "git", "repo": "x"}), ENV).save(repository)
