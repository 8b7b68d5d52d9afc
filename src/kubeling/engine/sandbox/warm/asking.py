"""The supervisor's side: asks a template to fork the command into the container.

The template itself gets files only. What the command is goes to the fork, so that nothing of it is
left in the memory that later forks begin with.
"""

from __future__ import annotations

import marshal
import os
import socket
import sys

from kubeling.engine.sandbox.warm.wire import FORMAT, GO, HEADER, KNOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from kubeling.engine.sandbox.plan import LaunchPlan

_PATIENCE_SECONDS = 3.0


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
    ours.settimeout(_PATIENCE_SECONDS)
    supervisor = os.pidfd_open(os.getpid())
    try:
        with socket.socket(fileno=control) as template:
            sent = [theirs.fileno(), supervisor, *files, *join]
            socket.send_fds(template, [KNOCK], sent)
        theirs.close()
        data = marshal.dumps(request, FORMAT)
        ours.sendall(len(data).to_bytes(HEADER, "little") + data)
        answer = ours.recv(32)
        if not answer:
            return 0
        ours.sendall(GO)
        return int(answer)
    except OSError:
        return 0  # it has ended, or it is stuck
    finally:
        ours.close()
        theirs.close()
        os.close(supervisor)
