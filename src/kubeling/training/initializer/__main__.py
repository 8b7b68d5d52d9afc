"""The initializer's command: ``python -m kubeling.training.initializer dataset|model``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kubeling.artifacts.errors import ArtifactError
from kubeling.training.initializer.sources import Source, fetch

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Fetches what ``STORAGE_URI`` names; the last line of a failure is the pod's message."""
    if len(arguments) != 1 or arguments[0] not in ("dataset", "model"):
        print("usage: initializer dataset|model", file=sys.stderr)
        return 2
    started = time.monotonic()
    target = Path(os.environ.get("WORKSPACE_PATH", "/workspace")) / arguments[0]
    try:
        source = Source.of(arguments[0], os.environ)
        print(f"fetching {source.shown} into {target}", flush=True)
        files = fetch(source, target)
    except ArtifactError as error:
        print(f"cannot fetch the {arguments[0]}: {error}", file=sys.stderr)
        return 1
    size = sum(file.stat().st_size for file in files)
    print(f"fetched {len(files)} files, {size} bytes in {time.monotonic() - started:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
