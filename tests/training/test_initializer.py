"""Data sets and models are fetched from where they are said to be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.objectstore import object_store

from kubeling.artifacts.errors import ArtifactError
from kubeling.training.initializer.__main__ import main
from kubeling.training.initializer.sources import Source, fetch


def fetched(kind: str, target: Path, **env: str) -> dict[str, str]:
    """What lies below the target afterwards."""
    files = fetch(Source.of(kind, env), target)
    return {file.relative_to(target).as_posix(): file.read_text() for file in files}


def test_folders_and_files_of_this_machine(tmp_path: Path) -> None:
    data = tmp_path / "some data"
    (data / "sub").mkdir(parents=True)
    (data / "rows.csv").write_text("1")
    (data / "sub" / "more.csv").write_text("2")
    (data / "sub" / "skip.md").write_text("3")
    uri = data.as_uri()
    found = fetched("dataset", tmp_path / "a", STORAGE_URI=uri, IGNORE_PATTERNS="*.md, *.txt")
    assert found == {"rows.csv": "1", "sub/more.csv": "2"}
    single = fetched("dataset", tmp_path / "b", STORAGE_URI=f"{uri}/rows.csv")
    assert single == {"rows.csv": "1"}
    (data / "net.pt").write_text("weights")
    assert "net.pt" in fetched("model", tmp_path / "c", STORAGE_URI=uri)


def test_objects_below_a_prefix_with_the_sdks_variables(tmp_path: Path) -> None:
    objects = {"sets/a/rows.csv": b"1", "sets/a/deep/b.csv": b"2", "other": b"3"}
    with object_store(**{"private-data": objects}) as store:
        found = fetched(
            "dataset",
            tmp_path / "data",
            STORAGE_URI="s3://private-data/sets/a",
            ENDPOINT=store.url,
            ACCESS_KEY_ID="key",
            SECRET_ACCESS_KEY="secret",
            REGION="us-east-1",
        )
    assert found == {"rows.csv": "1", "deep/b.csv": "2"}


@pytest.fixture
def hub() -> Iterator[str]:
    """A Hub with one data set and one model; the model wants a token."""
    files = {
        "/datasets/team/rows/resolve/abc/data/rows.parquet": b"rows",
        "/team/net/resolve/abc/config.json": b"{}",
        "/team/net/resolve/abc/net.safetensors": b"weights",
    }
    names = {
        "/api/datasets/team/rows/revision/main": ["data/rows.parquet"],
        "/api/models/team/net/revision/v1": ["config.json", "net.safetensors", "net.bin", "a.png"],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Bearer secret"
            if "net" in self.path and not known:
                self.send_response(401)
                self.end_headers()
                return
            siblings = [{"rfilename": name} for name in names.get(self.path, ())]
            body = files.get(self.path) or json.dumps({"sha": "abc", "siblings": siblings}).encode()
            self.send_response(200 if self.path in {**files, **names} else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_hubs_data_sets_and_of_models_what_is_needed(hub: str, tmp_path: Path) -> None:
    data = fetched("dataset", tmp_path / "d", STORAGE_URI="hf://team/rows", HF_ENDPOINT=hub)
    assert data == {"data/rows.parquet": "rows"}
    uri = "hf://team/net@v1"
    model = fetched(
        "model", tmp_path / "m", STORAGE_URI=uri, HF_ENDPOINT=hub, ACCESS_TOKEN="secret"
    )
    assert model == {"config.json": "{}", "net.safetensors": "weights"}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "STORAGE_URI is not set"),
        ("cache://x", "cache is not a known kind of storage for a dataset"),
        ("file:///no/such/folder", "does not exist on the machine the pod runs on"),
        ("hf://team/net@v1", "put a token that may into a secret as ACCESS_TOKEN"),
        ("hf://team/nothing", "the Hub answered HTTP 404 for team/nothing"),
    ],
)
def test_what_cannot_be_fetched_says_why(hub: str, tmp_path: Path, uri: str, said: str) -> None:
    kind = "model" if "net" in uri else "dataset"
    with pytest.raises(ArtifactError, match=said):
        fetched(kind, tmp_path, STORAGE_URI=uri, HF_ENDPOINT=hub)


def test_passwords_and_signatures_are_not_printed(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = hub.replace("://", "://me:pass-word@") + "/none.csv?signature=pass-word"
    monkeypatch.setenv("STORAGE_URI", address)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    assert main(["dataset"]) == 1
    said = "".join(capfd.readouterr())
    assert f"{hub}/none.csv" in said
    assert "pass-word" not in said
