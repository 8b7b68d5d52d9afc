"""``python -m kubeling.tuning.collector FOLDER METRIC …``: prints the scalars of event files.

Runs in a sidecar of the trial's pod: whoever follows its log has the metrics as they are written.
Each scalar is a line of JSON. Asked to stop, it reads what is left and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubeling.tuning.tfevents import EventFileError, metric_of, records, scalars

__all__ = ["EventFolder"]

_EVERY: Final = 0.5


class EventFolder:
    """The event files beneath a folder, each read from where it was left off."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = names
        self._read: dict[Path, int] = {}
        self._others: set[Path] = set()

    def lines(self) -> list[str]:
        """What was added, as lines of JSON, file after file."""
        files = sorted(
            Path(where) / file for where, _, names in os.walk(self._folder) for file in names
        )
        return [line for file in files if file not in self._others for line in self._added(file)]

    def _added(self, file: Path) -> list[str]:
        begin = self._read.get(file, 0)
        try:
            with file.open("rb") as opened:
                opened.seek(begin)
                found, length = records(opened.read())
            self._read[file] = begin + length
            return [line for record in found for line in self._lines(record, file)]
        except EventFileError as error:
            # A checkpoint beside the event files would be read whole again and again.
            self._others.add(file)
            print(f"{file} is no event file: {error}", file=sys.stderr, flush=True)
            return []
        except OSError as error:
            if file not in self._read:
                print(f"{file}: {error}", file=sys.stderr, flush=True)
            self._read[file] = begin
            return []

    def _lines(self, record: bytes, file: Path) -> list[str]:
        found = []
        for scalar in scalars(record):
            metric = metric_of(scalar.tag, str(file.parent), self._names)
            if metric is not None:
                found.append(json.dumps({"timestamp": scalar.time, metric: repr(scalar.value)}))
        return found


def main() -> None:
    """Prints until SIGTERM, and then the rest."""
    folder = EventFolder(Path(sys.argv[1]), sys.argv[2:])
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    while True:
        last = asked.wait(_EVERY)
        for line in folder.lines():
            print(line, flush=True)
        if last:
            return


if __name__ == "__main__":
    main()
