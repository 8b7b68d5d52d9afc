"""Fetching models from where they are kept, against small servers that speak the stores' APIs."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from tests.support.objectstore import ObjectStoreServer, object_store

from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.__main__ import main
from kubeling.serving.storage.download import download
from kubeling.serving.storage.uris import UnknownScheme, parse_uri

Answer = tuple[int, bytes]
OBJECTS = {"iris/model.joblib": b"model", "iris/extra/notes.txt": b"notes", "iris2/x": b"other"}


@pytest.fixture(name="store")
def _store() -> Iterator[ObjectStoreServer]:
    with object_store(public=dict(OBJECTS), private=dict(OBJECTS)) as server:
        yield server


@contextmanager
def http_server(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """Serves ``answer(path with query, headers)`` on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_a_folder_of_a_bucket_arrives_with_its_structure(
    store: ObjectStoreServer, tmp_path: Path
) -> None:
    download("gs://public/iris", tmp_path, {"STORAGE_EMULATOR_HOST": store.url})
    assert names(tmp_path) == ["extra/notes.txt", "model.joblib"]
    assert (tmp_path / "model.joblib").read_bytes() == b"model"


def test_one_object_arrives_under_its_own_name(store: ObjectStoreServer, tmp_path: Path) -> None:
    env = {"AWS_ENDPOINT_URL": store.url, **KEYS}
    download("s3://private/iris/model.joblib", tmp_path, env)
    assert names(tmp_path) == ["model.joblib"]


def test_a_storage_config_entry_supplies_the_keys(store: ObjectStoreServer, tmp_path: Path) -> None:
    entry = {"endpoint_url": store.url, "access_key_id": "key", "secret_access_key": "secret"}
    download("s3://private/iris", tmp_path, {"STORAGE_CONFIG": json.dumps(entry)})
    assert names(tmp_path) == ["extra/notes.txt", "model.joblib"]


def test_only_wanted_files_are_fetched(store: ObjectStoreServer, tmp_path: Path) -> None:
    settings = {"STORAGE_EMULATOR_HOST": store.url, "STORAGE_IGNORE_PATTERNS": "*.txt"}
    download("gs://public/iris", tmp_path, settings)
    assert names(tmp_path) == ["model.joblib"]


@pytest.mark.parametrize(
    ("uri", "settings", "message"),
    [
        ("gs://nowhere/iris", {}, 'there is no bucket "nowhere"'),
        ("gs://private/iris", {}, "may not be used anonymously (403); put a service acc"),
        ("gs://public/none", {}, 'there is no object "none" and none below it in bucket "public"'),
        ("s3://nowhere/iris", KEYS, 'there is no bucket "nowhere"'),
        ("s3://private/iris", {}, "may not be used anonymously (403); give AWS_ACCESS"),
    ],
)
def test_a_refusal_says_what_to_do(
    uri: str, settings: dict[str, str], message: str, store: ObjectStoreServer, tmp_path: Path
) -> None:
    env = {"STORAGE_EMULATOR_HOST": store.url, "AWS_ENDPOINT_URL": store.url, **settings}
    with pytest.raises(ArtifactError) as found:
        download(uri, tmp_path, env)
    assert message in str(found.value)


def test_a_store_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with object_store() as store:
        pass
    with pytest.raises(ArtifactError, match=r"cannot reach 127\.0\.0\.1:\d+: .*refused"):
        download("gs://public/iris", tmp_path, {"STORAGE_EMULATOR_HOST": store.url})


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_an_archive_from_the_web_is_unpacked(suffix: str, tmp_path: Path) -> None:
    packed = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("model.joblib", b"model")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            member = tarfile.TarInfo("model.joblib")
            member.size = 5
            tar.addfile(member, io.BytesIO(b"model"))
    (tmp_path / ".fetching").mkdir()
    (tmp_path / ".fetching" / "half.joblib").write_bytes(b"of a run that was killed")
    with http_server(lambda *_: (200, packed.getvalue())) as url:
        for _ in ("first", "again after a restart of the node"):
            found = download(f"{url}/models/iris{suffix}", tmp_path, {})
            assert found == [tmp_path / "model.joblib"]
            assert names(tmp_path) == ["model.joblib"]


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_half_an_archive_is_said_to_be_broken(mode: Literal["w:gz"], tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(os.urandom(100_000))
    packed = tmp_path / f"model.tar.{mode[2:]}"
    with tarfile.open(packed, mode) as archive:
        archive.add(tmp_path / "model", "model")
    packed.write_bytes(packed.read_bytes()[:50_000])
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        download(str(packed), tmp_path / "models" / "here", {})


def test_an_archive_cannot_write_outside_of_the_models_folder(tmp_path: Path) -> None:
    packed = tmp_path / "evil.tar"
    with tarfile.open(packed, "w") as tar:
        tar.addfile(tarfile.TarInfo("../../evil"), io.BytesIO())
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        download(str(packed), tmp_path / "models" / "here", {})
    assert not (tmp_path / "evil").exists()


def test_files_and_folders_of_this_machine_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.onnx").write_bytes(b"onnx")
    download(source.as_uri(), tmp_path / "folder", {})
    download(str(source / "model.onnx"), tmp_path / "file", {})
    assert names(tmp_path / "folder") == names(tmp_path / "file") == ["model.onnx"]


def test_a_registered_model_is_fetched_from_where_the_registry_says(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"model")

    def registry(path: str, _: dict[str, str]) -> Answer:
        answers = {
            "/registered_model?name=iris": {"id": "1"},
            "/registered_models/1/versions?orderBy=CREATE_TIME&sortOrder=DESC&pageSize=1": {
                "items": [{"id": "2", "name": "v1"}]
            },
            "/model_version?name=v1&parentResourceId=1": {"id": "2", "name": "v1"},
            "/model_versions/2/artifacts": {
                "items": [{"uri": (tmp_path / "model.joblib").as_uri()}]
            },
        }
        found = answers.get(path.removeprefix("/api/model_registry/v1alpha3"))
        return (200, json.dumps(found).encode()) if found else (404, b"{}")

    with http_server(registry) as url:
        env = {"MODEL_REGISTRY_BASE_URL": url}
        for uri in ("model-registry://iris", "model-registry://iris/v1"):
            target = tmp_path / uri.partition("://")[2].replace("/", "-")
            download(uri, target, env)
            assert names(target) == ["model.joblib"]
        with pytest.raises(ArtifactError, match='has no model "rose"; register it first'):
            download("model-registry://rose/v1", tmp_path / "rose", env)


def test_the_command_ends_with_one_line_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["/nowhere/model", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "cannot fetch /nowhere/model: /nowhere/model does not exist on the machine the pod runs "
        "on; check storageUri\n"
    )
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file"), str(tmp_path / "file" / "models")]) == 1
    err = capsys.readouterr().err
    assert f"cannot write {tmp_path}/file/models" in err
    assert err.count("\n") == 1
    assert err.endswith(": Not a directory\n")


def test_the_command_shows_no_password_and_no_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with http_server(lambda path, _: (200 if path.startswith("/m?") else 404, b"m")) as url:
        address = url.replace("://", "://me:hush@")
        assert main([f"{address}/m?sig=hush", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"fetched {url}/m: 1 files")
        assert main([f"{address}/absent?sig=hush", str(tmp_path)]) == 1
        said += capsys.readouterr().err
    for refused in (
        "https://me.blob.core.windows.net/c?sig=hush",
        "me:hush@example.com/m?sig=hush",
        "oci://me:hush@example.com",
        "hf://me?sig=hush",
        "ftp://me:hush@example.com/m",
    ):
        assert main([refused, str(tmp_path)]) == 1
        said += capsys.readouterr().err
    assert "hush" not in said
    assert '"example.com/m" a plain path must be absolute' in said


def test_addresses() -> None:
    assert parse_uri("pvc://claim/a/b").path == "a/b"
    assert parse_uri("file:///a%20b").path == "/a b"
    assert parse_uri("/a").scheme == "file"
    with pytest.raises(UnknownScheme):
        parse_uri("ftp://x")
    for text in ("", "relative", "gs://", "file://host"):
        with pytest.raises(ValueError):
            parse_uri(text)
