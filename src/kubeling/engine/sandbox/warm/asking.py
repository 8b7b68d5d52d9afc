"""The supervisor's side: asks a template to fork the command into the container."""

from __future__ import annotations

import marshal
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from kubeling.engine.sandbox.plan import LaunchPlan

_PATIENCE_SECONDS = 3.0
_FORMAT = 4
"""Of :mod:`marshal`: every Python that a template may run on reads it."""


def fork_command(
    control: int, plan: LaunchPlan, files: tuple[int, int, int], join: Sequence[int] = ()
) -> int:
    """The process id of the running command; 0 if it has to be executed.

    In that case nothing of the command has run, and nothing will: it waits for a word from here.
    """
    warm = plan.get("warm")
    if sys.platform != "linux" or warm is None or os.getpid() != 1:
        return 0
    file = warm.get("file")
    request: dict[str, Any] = {
        **warm,
        "text": plan["argv"][file["text"]] if file else "",
        "env": {**plan["env"], **warm["env"]},
        "cwd": plan["cwd"],
        "credentials": plan["credentials"],
    }
    ours, theirs = socket.socketpair()
    supervisor = os.pidfd_open(os.getpid())
    try:
        with socket.socket(fileno=control) as template:
            sent = [theirs.fileno(), supervisor, *files, *join]
            socket.send_fds(template, [marshal.dumps(request, _FORMAT)], sent)
        theirs.close()
        ours.settimeout(_PATIENCE_SECONDS)
        answer = ours.recv(32)
        if not answer:
            return 0
        ours.sendall(b"g")
        return int(answer)
    except OSError:
        return 0  # it has ended, or it is stuck
    finally:
        ours.close()
        theirs.close()
        os.close(supervisor)
