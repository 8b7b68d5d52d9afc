"""All that containers leave goes, whatever permissions it has, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeling.engine.trees import remove_forest, remove_tree


@pytest.mark.parametrize("remove", [remove_tree, remove_forest])
@pytest.mark.parametrize("wide", [1, 40])
def test_everything_below_goes_and_nothing_that_is_linked_to(
    tmp_path: Path, remove: Callable[[Path], None], wide: int
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "folder"
    for number in range(wide):
        deep = folder / "a" / str(number) / "b" / "c"
        deep.mkdir(parents=True)
        (deep / "file").touch()
        (deep.parent / "link").symlink_to(kept)
        (folder / "a" / f"link-{number}").symlink_to(kept)
        deep.chmod(0)
    remove(folder)
    assert not folder.exists()
    assert (kept / "file").exists()
    remove(folder)
