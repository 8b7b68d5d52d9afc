"""Writing where there may be no room for a while: what a container said and how it ended is kept.

A container whose log cannot be written waits for room once its pipe is full, as it would for a slow
terminal; one that has ended is told of when its record is written. Whoever needs the room can still
kill it.
"""

from __future__ import annotations

import errno
import os
import time

PAUSE = 0.25
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def write_all(file: int, data: bytes) -> None:
    """Writes everything, however long a full disk makes that take."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except OSError as error:
            wait_for_room(error)


def wait_for_room(error: OSError) -> None:
    """Returns after a moment if a disk was full; raises the error if it was something else."""
    if error.errno not in _NO_ROOM:
        raise error
    time.sleep(PAUSE)
