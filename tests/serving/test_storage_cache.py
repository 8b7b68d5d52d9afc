"""Models that were fetched before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.objectstore import object_store

from kubeling.serving.storage.cache import ModelCache
from kubeling.serving.storage.download import download
from kubeling.serving.storage.local import DIGEST_VARIABLE, digest_of


def fetched(cache: ModelCache, version: str, target: Path, content: str) -> tuple[str, bool]:
    """What arrives, and whether it had to be fetched."""
    calls: list[str] = []

    def save(path: Path) -> None:
        calls.append(content)
        path.write_text(content)

    cache.fetch(version, target, save)
    return target.read_text(), bool(calls)


def test_a_version_that_was_seen_is_not_fetched_again(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache")
    assert fetched(cache, "a 1", tmp_path / "1", "one") == ("one", True)
    assert fetched(cache, "a 1", tmp_path / "2", "other") == ("one", False)
    assert fetched(cache, "a 2", tmp_path / "3", "two") == ("two", True)
    assert fetched(cache, "", tmp_path / "4", "no version") == ("no version", True)
    assert fetched(cache, "", tmp_path / "4", "no version") == ("no version", True)


def test_equal_files_are_kept_once(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache")
    fetched(cache, "a", tmp_path / "1", "same")
    fetched(cache, "b", tmp_path / "2", "same")
    assert len(list((tmp_path / "cache" / "contents").iterdir())) == 1


def test_what_is_damaged_is_fetched_again(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache")
    fetched(cache, "a", tmp_path / "1", "whole")
    (content,) = (tmp_path / "cache" / "contents").iterdir()
    content.write_text("broken")
    assert fetched(cache, "a", tmp_path / "2", "whole") == ("whole", True)
    assert fetched(cache, "a", tmp_path / "3", "whole") == ("whole", False)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", limit=10)
    for name in ("a", "b"):
        fetched(cache, name, tmp_path / name, name * 4)
    for content in (tmp_path / "cache" / "contents").iterdir():
        used = 1000 if content.read_text() == "bbbb" else 2000
        os.utime(content, (used, used))
    fetched(cache, "c", tmp_path / "c", "cccc")
    assert fetched(cache, "a", tmp_path / "a2", "aaaa") == ("aaaa", False)
    assert fetched(cache, "b", tmp_path / "b2", "bbbb") == ("bbbb", True)
    fetched(cache, "large", tmp_path / "large", "l" * 11)
    assert fetched(cache, "large", tmp_path / "large2", "l" * 11)[1]


def test_what_a_killed_initializer_left_is_removed(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache")
    left, running = tmp_path / "cache" / ".new-left", tmp_path / "cache" / ".new-running"
    for folder in (left, running):
        folder.mkdir(parents=True)
        (folder / "content").write_text("half")
    os.utime(left, (1000, 1000))
    fetched(cache, "a", tmp_path / "1", "one")
    assert running.exists()
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ModelCache(tmp_path / "file")
    assert fetched(cache, "a", tmp_path / "1", "one") == ("one", True)


def test_a_revision_keeps_the_files_that_it_was_served_with(tmp_path: Path) -> None:
    folder, target = tmp_path / "iris", tmp_path / "target"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "model").write_text("one")
    first = digest_of(folder)

    def started(digest: str, cache: str = "cache") -> dict[str, str]:
        shutil.rmtree(target, ignore_errors=True)
        env = {"MODEL_CACHE": str(tmp_path / cache), DIGEST_VARIABLE: digest}
        files = download(str(folder), target, env)
        return {str(file.relative_to(target)): file.read_text() for file in files}

    one, two = {"below/model": "one"}, {"below/model": "two", "notes": "new"}
    assert started(first) == one
    (folder / "below" / "model").write_text("two")
    (folder / "notes").write_text("new")
    assert started(first) == one
    assert started(digest_of(folder)) == two
    assert started(first) == one
    # What was written over before anything was kept is what there is, and nobody's.
    assert started(first, "other") == two
    (folder / "notes").write_text("newer")
    assert started(first, "other") == two | {"notes": "newer"}


def test_a_bucket_is_asked_but_not_fetched_from_twice(tmp_path: Path) -> None:
    objects = {"iris/model.joblib": b"model", "iris/extra/notes.txt": b"notes"}
    cache = tmp_path / "cache"
    with object_store(public=objects) as store:
        env = {"STORAGE_EMULATOR_HOST": store.url, "MODEL_CACHE": str(cache)}
        download("gs://public/iris", tmp_path / "first", env)
        names = sorted(path.name for path in (cache / "contents").iterdir())
        download("gs://public/iris", tmp_path / "second", env)
        assert (tmp_path / "second" / "model.joblib").read_bytes() == b"model"
        assert (tmp_path / "second" / "extra" / "notes.txt").read_bytes() == b"notes"
        assert sorted(path.name for path in (cache / "contents").iterdir()) == names
        store.buckets["public"]["iris/model.joblib"] = b"another model"
        download("gs://public/iris", tmp_path / "third", env)
        assert (tmp_path / "third" / "model.joblib").read_bytes() == b"another model"
