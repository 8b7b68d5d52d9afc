"""The supervisor's side: asks a template to fork the command into the container.

The template itself is told in which process ids to fork only. What the command is goes to the fork,
so that nothing of it is left in the memory that later forks begin with, and it goes there when the
container's walls are up: the template forks while the supervisor puts them up.
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


def knock(control: int) -> socket.socket | None:
    """Has a template fork, beside what the supervisor has to do yet; ``None`` if that cannot be.

    The fork waits at the other end of what is returned. Closing that ends it.
    """
    if sys.platform != "linux" or os.getpid() != 1:
        return None
    ours, theirs = socket.socketpair()
    ours.settimeout(_PATIENCE_SECONDS)
    supervisor = os.pidfd_open(os.getpid())
    try:
        with socket.socket(fileno=control) as template:
            socket.send_fds(template, [KNOCK], [theirs.fileno(), supervisor])
    except OSError:
        ours.close()  # the template has ended
        return None
    finally:
        theirs.close()
        os.close(supervisor)
    return ours


def fork_command(
    waiting: socket.socket, plan: LaunchPlan, files: tuple[int, int, int], join: Sequence[int] = ()
) -> int:
    """The process id of the running command; 0 if it has to be executed.

    In that case nothing of the command has run, and nothing will: it waits for a word from here.
    """
    warm = plan["warm"]
    file = warm.get("file")
    request: dict[str, Any] = {
        **warm,
        "text": plan["argv"][file["text"]] if file else "",
        "env": {**plan["env"], **warm["env"]},
        "cwd": plan["cwd"],
        "credentials": plan["credentials"],
    }
    data = marshal.dumps(request, FORMAT)
    try:
        socket.send_fds(waiting, [len(data).to_bytes(HEADER, "little")], [*files, *join])
        waiting.sendall(data)
        answer = waiting.recv(32)
        if not answer:
            return 0
        waiting.sendall(GO)
        return int(answer)
    except OSError:
        return 0  # it has ended, or it is stuck
    finally:
        waiting.close()
