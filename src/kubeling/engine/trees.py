"""Removing what containers leave behind, whatever permissions it has."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["remove_tree"]


def remove_tree(folder: Path) -> None:
    """Removes a folder with all in it; overlays leave work folders nobody may enter."""
    shutil.rmtree(folder, onerror=_open_up_and_retry)


def _open_up_and_retry(call: Callable[..., Any], path: str, _: Any) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
