"""A small process that forks: a container starts in the time of a fork, not of an interpreter.

The agent keeps a socket to it and sends, for each request, a descriptor and the namespaces that the
request wants new; the zygote forks into those and the child serves the request over the descriptor,
so the zygote itself never blocks, decides or fails. The child that launches a container goes on as
its supervisor: each further fork would cost a third of a start. A child can be asked for before it
is known for what: it stands by with a fork of a template (:mod:`.warm`), and ends when nobody is
left who could say. The zygote ends when the agent does; the containers it started do not.
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

from kubeling.engine.sandbox import command, layers, linux, supervisor, terminal
from kubeling.engine.sandbox.warm import starting
from kubeling.engine.sandbox.warm.asking import knock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from kubeling.engine.sandbox.plan import ExecPlan

NAMESPACES = 4
"""How many bytes name the namespaces that a request wants new."""
_HEADER = 4
_MAX_FILES = 64
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


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
        data, files, _, _ = socket.recv_fds(control, NAMESPACES, 1)
        if not data:
            return
        connection = socket.socket(fileno=files[0])
        try:
            pid = linux.fork_into(int.from_bytes(data, "little"))
        except OSError as error:
            _refuse(connection, error)
        else:
            if pid == 0:
                control.close()
                _serve(connection)
        connection.close()


def _serve(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        kind, argument, files = _receive(connection)
        waiting = None
        if kind == "stand by":
            linux.set_process_name("kubeling-spare")
            waiting = knock(files[0])
            kind, argument, files = _receive(connection)
            linux.unshare(linux.CLONE_NEWNS)
        if kind == "launch":
            plan, record = argument
            if "warm" in plan:
                template = files.pop(0)
                if waiting is None:
                    waiting = knock(template)
                else:
                    os.close(template)  # which is to see when nobody needs it any more
            supervisor.launch(plan, record, files, waiting, lambda pid: _launched(connection, pid))
        elif kind == "exec":
            _execute(connection, argument, files)
        elif kind == "template":
            connection.close()
            starting.start(argument, files[0])
        else:
            connection.close()
            layers.keep(socket.socket(fileno=files[0]), argument)
    except OSError as error:
        _refuse(connection, error)
    finally:
        os._exit(0)


def _launched(connection: socket.socket, pid: int) -> None:
    _send(connection, {"pid": pid})
    connection.close()


def _refuse(connection: socket.socket, error: OSError) -> None:
    _send(connection, {"error": error.strerror or str(error)})


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
    try:
        pid = command.spawn(plan, (files[0], files[1], files[2]), join)
    except command.Refused as refused:
        os.write(files[2], f"{refused}\n".encode())
        _send(connection, {"exit_code": refused.exit_code})
        return
    for file in set(files):
        os.close(file)
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if any(ready != waking for ready, _ in poll.poll()):
            _kill_session(pid, processes)
            ended = os.waitpid(pid, 0)
            break
        os.read(waking, 512)
    _, status = ended
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
    space = socket.CMSG_LEN(_MAX_FILES * 4)
    head, ancillary, _, _ = connection.recvmsg(_HEADER, space, _CLOSE_ON_EXEC)
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
    kind, argument = marshal.loads(b"".join(pieces))
    return kind, argument, files.tolist()


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
