"""The two helpers of a step with artifacts elsewhere, and what they do after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.objectstore import ObjectStoreServer, object_store

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import S3
from kubeling.artifacts.patience import VARIABLE
from kubeling.artifacts.plan import Packing, Transfer
from kubeling.artifacts.transfer import ANSWERED, OFFERED, WAKE, delete, keep, load


@pytest.fixture(name="store")
def _store() -> Iterator[ObjectStoreServer]:
    with object_store(public={"given": b"data"}) as server:
        yield server


def transfer(store: ObjectStoreServer, key: str, packing: Packing = "none") -> Transfer:
    location = S3(bucket="public", key=key, endpoint=store.url)
    return Transfer(name=key, location=location, packing=packing)


def offer(folder: Path, *names: str) -> None:
    """What the step does at its end."""
    (folder / "written").write_text("".join(f"{name}\n" for name in names))
    (folder / "written").rename(folder / OFFERED)
    with (folder / WAKE).open("w") as wake:
        wake.write("\n")


class Pauses:
    """What to do in the pauses between attempts, instead of waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> None:
        self.taken: list[float] = []
        self._steps = list(steps)
        monkeypatch.setattr("time.sleep", self._pause)

    def _pause(self, seconds: float) -> None:
        self.taken.append(seconds)
        if self._steps:
            self._steps.pop(0)()


def nothing() -> None:
    return


def test_a_store_that_is_away_for_a_while_is_waited_for(
    store: ObjectStoreServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store.stop()
    pauses = Pauses(monkeypatch, nothing, store.start)
    load([transfer(store, "given")], tmp_path, {})
    assert (tmp_path / "given").read_bytes() == b"data"
    assert pauses.taken == [0.5, 1.0], "longer each time"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("cannot reach 127.0.0.1")
    assert said[0].endswith("; again in 0.5 s")


def test_a_store_that_stays_away_is_an_error_that_says_how_long_it_was_tried(
    store: ObjectStoreServer, tmp_path: Path
) -> None:
    store.stop()
    with pytest.raises(ArtifactError, match=r"given: cannot reach 127\.0\.0\.1.* for \d+ s"):
        load([transfer(store, "given")], tmp_path, {VARIABLE: "0.1"})


def test_a_refusal_is_not_tried_again(store: ObjectStoreServer, tmp_path: Path) -> None:
    absent = transfer(store, "absent")
    with pytest.raises(ArtifactError, match="there is nothing at s3://public/absent"):
        load([absent], tmp_path, {})


@pytest.fixture(name="keeper")
def _keeper(store: ObjectStoreServer, tmp_path: Path) -> threading.Thread:
    return threading.Thread(
        target=keep, args=([transfer(store, "made")], tmp_path, {}), daemon=True
    )


def test_outputs_are_stored_when_they_are_offered(
    keeper: threading.Thread, store: ObjectStoreServer, tmp_path: Path
) -> None:
    (tmp_path / "made").write_text("made")
    os.mkfifo(tmp_path / WAKE)
    keeper.start()
    offer(tmp_path, "made")
    keeper.join(30)
    assert store.buckets["public"]["made"] == b"made"
    assert (tmp_path / ANSWERED).read_text() == ""


def test_a_keeper_that_comes_late_finds_what_was_offered(
    keeper: threading.Thread, store: ObjectStoreServer, tmp_path: Path
) -> None:
    (tmp_path / "made").write_text("made")
    os.mkfifo(tmp_path / WAKE)
    step = threading.Thread(target=offer, args=(tmp_path, "made"), daemon=True)
    step.start()
    while not (tmp_path / OFFERED).exists():
        step.join(0.01)
    keeper.start()
    keeper.join(30)
    step.join(30)
    assert not step.is_alive()
    assert (tmp_path / ANSWERED).read_text() == ""


def test_a_keeper_started_again_answers_once(store: ObjectStoreServer, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("made")
    (tmp_path / OFFERED).write_text("made\n")
    keep([transfer(store, "made")], tmp_path, {})
    store.buckets["public"].pop("made")
    keep([transfer(store, "made")], tmp_path, {})
    assert "made" not in store.buckets["public"]


def test_what_was_not_made_is_not_stored(store: ObjectStoreServer, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("made")
    (tmp_path / OFFERED).write_text("made\n")
    keep([transfer(store, "made", "tar"), transfer(store, "other")], tmp_path, {})
    assert sorted(store.buckets["public"]) == ["given", "made"]


def test_a_loader_started_again_begins_anew(store: ObjectStoreServer, tmp_path: Path) -> None:
    (tmp_path / ".given.loading").mkdir()
    (tmp_path / "given").mkdir()
    load([transfer(store, "given")], tmp_path, {})
    assert (tmp_path / "given").read_bytes() == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_problems_are_said_by_artifact(store: ObjectStoreServer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="input artifact none: there is nothing at s3://publ"):
        load([transfer(store, "none")], tmp_path, {})
    wrong = Transfer(name="x", location=S3(bucket="gone", key="x", endpoint=store.url))
    assert 'there is no bucket "gone"' in delete([wrong], {})["x"]
    assert delete([transfer(store, "given"), transfer(store, "none")], {}) == {
        "given": "",
        "none": "",
    }
