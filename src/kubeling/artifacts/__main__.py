"""``python -m kubeling.artifacts load|keep|delete``: what the containers beside a step run.

The artifacts are in ``KUBELING_ARTIFACTS`` (JSON), the folder shared with the step in
``KUBELING_EXCHANGE``; secrets are in variables that the artifacts name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.plan import Transfer
from kubeling.artifacts.transfer import delete, keep, load

__all__ = ["main"]

_MESSAGE: Final = Path("/dev/termination-log")
_SHOWN: Final = 10


def main(arguments: Sequence[str]) -> int:
    """Does one of the three; the last line of a failure becomes the termination message."""
    if len(arguments) != 1 or arguments[0] not in ("load", "keep", "delete"):
        print("usage: python -m kubeling.artifacts load|keep|delete", file=sys.stderr)
        return 2
    transfers = msgspec.json.decode(os.environ["KUBELING_ARTIFACTS"], type=list[Transfer])
    folder = Path(os.environ.get("KUBELING_EXCHANGE", "."))
    try:
        match arguments[0]:
            case "load":
                load(transfers, folder, os.environ)
            case "keep":
                _keep(transfers, folder)
            case _:
                _delete(transfers)
    except ArtifactError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _delete(transfers: list[Transfer]) -> None:
    """What could not be deleted becomes the termination message, as far as there is room."""
    failed: dict[str, str] = {}
    for name, problem in delete(transfers, os.environ).items():
        print(f"{name}: {problem or 'deleted'}")
        if problem:
            failed[name] = problem if len(failed) < _SHOWN else "see the pod's log"
    with contextlib.suppress(OSError):
        _MESSAGE.write_bytes(msgspec.json.encode(failed))


def _keep(transfers: list[Transfer], folder: Path) -> NoReturn:
    """The step ends this container; until then there may be a question that was asked again."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    keep(transfers, folder, os.environ)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
