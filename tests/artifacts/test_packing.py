"""A packed artifact is what it was when it is unpacked, also by Argo's own tools."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.packing import pack, unpack
from kubeling.artifacts.plan import Packing

NAMES = st.text("abcäé .-_", min_size=1, max_size=8).filter(lambda n: n.strip(" .") == n)
TREES = st.dictionaries(st.tuples(NAMES, NAMES), st.binary(max_size=64), max_size=6)


@given(
    tree=TREES,
    packing=st.sampled_from(["tar", "zip"]),
    how=st.sampled_from(["same", "auto"]),
    level=st.sampled_from([None, -1, 0, 1, 9]),
)
def test_folders_survive(
    tree: dict[tuple[str, str], bytes], packing: Packing, how: str, level: int | None
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        for (folder, name), data in tree.items():
            (source / f"d{folder}").mkdir(exist_ok=True)
            (source / f"d{folder}" / name).write_bytes(data)
        pack(source, Path(scratch) / "packed", packing, level)
        target = Path(scratch) / "new" / "target"
        unpack(Path(scratch) / "packed", target, packing if how == "same" else "auto")
        found = {
            (path.parent.name[1:], path.name): path.read_bytes()
            for path in target.rglob("*")
            if path.is_file()
        }
        assert found == tree


@pytest.mark.parametrize("packing", ["tar", "zip"])
def test_an_archives_only_entry_takes_the_name_asked_for(packing: Packing, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    pack(tmp_path / "hello.txt", tmp_path / "packed", packing)
    unpack(tmp_path / "packed", tmp_path / "message", "auto")
    assert (tmp_path / "message").read_text() == "hello"


@pytest.mark.parametrize("packing", get_args(Packing))
def test_a_plain_file_stays_as_it_is(packing: Packing, tmp_path: Path) -> None:
    (tmp_path / "found").write_text("plain")
    if packing in ("tar", "zip"):
        with pytest.raises(ArtifactError, match="target cannot be unpacked"):
            unpack(tmp_path / "found", tmp_path / "target", packing)
        return
    unpack(tmp_path / "found", tmp_path / "target", packing)
    assert (tmp_path / "target").read_text() == "plain"


def test_a_folder_that_is_a_mount_is_filled(tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "new").touch()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    unpack(tmp_path / "found", tmp_path / "target", "none")
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == ["new", "old"]


def test_nothing_lands_outside(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil"), io.BytesIO())
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        unpack(tmp_path / "packed", tmp_path / "a" / "target", "auto")
    with zipfile.ZipFile(tmp_path / "packed", "w") as packed:
        packed.writestr("../../evil", b"")
    unpack(tmp_path / "packed", tmp_path / "b" / "target", "zip")
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "evil").exists()
