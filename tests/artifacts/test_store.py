"""What the artifact store promises to whoever keeps something in it."""

import io
import os
from pathlib import Path

import pytest

from kubeling.artifacts.store import ArtifactError, ArtifactNotFound, ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "artifacts").as_uri())


def test_bytes_come_back_as_they_were_put(store: ArtifactStore) -> None:
    uri = f"{store.root}/a/model.bin"
    store.put(uri, b"\x00\x01")
    assert store.read(uri) == b"\x00\x01"
    assert [info.size for info in store.list(f"{store.root}/a")] == [2]


def test_an_absolute_path_is_an_address(store: ArtifactStore) -> None:
    store.put(f"{store.folder}/x", io.BytesIO(b"hello"))
    assert store.read(f"{store.root}/x") == b"hello"


def test_folders_travel_whole(store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "f.txt").write_text("1")
    store.put(f"{store.root}/folder", source)
    store.get(f"{store.root}/folder", tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "f.txt").read_text() == "1"


def test_replacing_leaves_nothing_of_the_old(store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").touch()
    store.put(f"{store.root}/x", source)
    store.put(f"{store.root}/x", b"new")
    assert store.read(f"{store.root}/x") == b"new"
    assert [p.name for p in store.folder.iterdir()] == ["x"]


def test_a_failed_write_leaves_the_old_content(store: ArtifactStore) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise OSError("the line is dead")

    uri = f"{store.root}/x"
    store.put(uri, b"old")
    with pytest.raises(ArtifactError, match="the line is dead"):
        store.put(uri, io.BufferedReader(Broken()))
    assert store.read(uri) == b"old"


def test_copies_share_their_bytes(store: ArtifactStore) -> None:
    store.put(f"{store.root}/a", b"big")
    store.copy(f"{store.root}/a", f"{store.root}/b")
    assert os.path.samefile(store.folder / "a", store.folder / "b")
    store.put(f"{store.root}/a", b"new")
    assert store.read(f"{store.root}/b") == b"big"


def test_the_digest_follows_the_content_not_the_place(store: ArtifactStore) -> None:
    store.put(f"{store.root}/a", b"same")
    store.put(f"{store.root}/b", b"same")
    store.put(f"{store.root}/c", b"other")
    assert store.digest(f"{store.root}/a") == store.digest(f"{store.root}/b")
    assert store.digest(f"{store.root}/a") != store.digest(f"{store.root}/c")
    assert store.digest(f"{store.root}/a", limit=1).startswith("stat:")


def test_what_is_not_there_is_named(store: ArtifactStore) -> None:
    assert not store.exists(f"{store.root}/x")
    assert list(store.list(f"{store.root}/x")) == []
    with pytest.raises(ArtifactNotFound, match="/x"):
        store.open(f"{store.root}/x")


def test_a_store_that_is_not_available_says_so() -> None:
    with pytest.raises(ArtifactError, match=r"s3://.*file://"):
        ArtifactStore("s3://bucket/prefix")
