"""The storage initializer's command: ``python -m kubeling.serving.storage URI DIR [URI DIR …]``."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubeling.artifacts.addresses import shown_address
from kubeling.artifacts.errors import ArtifactError, written_error
from kubeling.serving.storage.download import download

__all__ = ["main"]

_USAGE: Final = """usage: storage-initializer URI DIR [URI DIR ...]
       storage-initializer --remove DIR"""


def main(arguments: Sequence[str]) -> int:
    """Fetches every model; the last line of a failure becomes the pod's termination message."""
    if len(arguments) == 2 and arguments[0] == "--remove":
        shutil.rmtree(arguments[1], ignore_errors=True)
        return 0
    if not arguments or len(arguments) % 2:
        print(_USAGE, file=sys.stderr)
        return 2
    for uri, directory in zip(arguments[::2], arguments[1::2], strict=True):
        shown, started = shown_address(uri), time.monotonic()
        try:
            files = download(uri, Path(directory), os.environ)
        except ArtifactError as error:
            print(f"cannot fetch {shown}: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            why = written_error(error.filename or directory, error)
            print(f"cannot fetch {shown}: {why}", file=sys.stderr)
            return 1
        size = sum(path.stat().st_size for path in files)
        seconds = time.monotonic() - started
        print(f"fetched {shown}: {len(files)} files, {size} bytes in {seconds:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
