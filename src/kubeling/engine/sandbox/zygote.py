"""A small process that forks: a container starts in the time of a fork, not of an interpreter.

The agent keeps a socket to it and sends one descriptor per request; the zygote forks and the child
serves the request over that descriptor, so the zygote itself never blocks, decides or fails. It
ends when the agent does; the containers it started do not.
"""

from __future__ import annotations

import array
import gc
import marshal
import os
import select
import signal
import socket
import sys

from kubeling.engine.sandbox import command, linux, supervisor, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from kubeling.engine.sandbox.plan import ExecPlan

_HEADER = 4
_MAX_FILES = 3


def main(control: socket.socket) -> None:
    """Forks for every descriptor that arrives, until the other end closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        linux.set_process_name("kubeling-zygote")
        # Supervisors lose their parent at once; where pid 1 collects nobody, this process does.
        linux.become_subreaper()
    os.chdir("/")
    gc.disable()
    gc.freeze()
    while True:
        data, files, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _serve(socket.socket(fileno=files[0]))
        os.close(files[0])


def _serve(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        kind, plan, files = _receive(connection)
        if kind == "launch":
            _send(connection, {"pid": supervisor.launch(plan)})
        else:
            _execute(connection, plan, files)
    except OSError as error:
        _send(connection, {"error": error.strerror or str(error)})
    finally:
        os._exit(0)


def _execute(connection: socket.socket, plan: ExecPlan, files: list[int]) -> None:
    """Runs a command inside a container; the caller's hanging up kills it."""
    join = [os.open(group, os.O_WRONLY | os.O_CLOEXEC) for group in plan["join"]]
    # From before entering, after which process ids mean something else there.
    processes = os.open("/proc", os.O_RDONLY | os.O_CLOEXEC) if os.path.isdir("/proc") else -1
    linux.enter(plan["target"], plan["namespaces"])
    if plan["tty"]:
        ours, theirs = terminal.open_terminal(plan["credentials"])
        socket.send_fds(connection, [b"\0"], [ours])
        os.close(ours)
        files = [theirs, theirs, theirs]
    waking, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pid, report = command.spawn(plan, (files[0], files[1], files[2]), join)
    refused = command.failure(report)
    if refused is not None:
        os.write(files[2], f"{refused[1]}\n".encode())
    for file in set(files):
        os.close(file)
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    poll.register(connection, select.POLLIN)
    if refused is None and any(ready != waking for ready, _ in poll.poll()):
        _kill_session(pid, processes)
    _, status = os.waitpid(pid, 0)
    if refused is not None:
        _send(connection, {"exit_code": refused[0]})
    else:
        code = os.waitstatus_to_exitcode(status)
        _send(connection, {"exit_code": code if code >= 0 else 128 - code})


def _kill_session(leader: int, processes: int) -> None:
    """Kills a command with all it started: a shell's jobs are process groups of their own."""
    os.killpg(leader, signal.SIGKILL)
    for entry in os.listdir(processes) if processes >= 0 else ():
        if not entry.isdigit():
            continue
        try:
            file = os.open(f"{entry}/stat", os.O_RDONLY, dir_fd=processes)
            state, _, _, session, *_ = os.read(file, 4096).rpartition(b")")[2].split()
            os.close(file)
            if int(session) == leader and state != b"Z":
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            continue  # it has ended meanwhile


def _receive(connection: socket.socket) -> tuple[str, Any, list[int]]:
    head, ancillary, _, _ = connection.recvmsg(_HEADER, socket.CMSG_LEN(_MAX_FILES * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    while len(head) < _HEADER:
        head += connection.recv(_HEADER - len(head)) or _gone()
    remaining = int.from_bytes(head, "little")
    pieces = []
    while remaining:
        pieces.append(connection.recv(remaining) or _gone())
        remaining -= len(pieces[-1])
    kind, plan = marshal.loads(b"".join(pieces))
    return kind, plan, files.tolist()


def _gone() -> NoReturn:
    raise ConnectionResetError("the agent hung up")


def _send(connection: socket.socket, answer: dict[str, Any]) -> None:
    data = marshal.dumps(answer)
    try:
        connection.sendall(len(data).to_bytes(_HEADER, "little") + data)
    except OSError:
        return  # nobody listens any more


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
