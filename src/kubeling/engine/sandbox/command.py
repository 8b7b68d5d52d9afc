"""Executing a command with the identity, folder and environment its plan names."""

from __future__ import annotations

import errno
import os
import signal

from kubeling.engine.sandbox import linux, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from kubeling.engine.sandbox.plan import Credentials, ExecPlan, LaunchPlan

_RESET = tuple(
    getattr(signal, name)
    for name in ("SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2",
                 "SIGPIPE", "SIGXFSZ")
    if hasattr(signal, name)
)  # fmt: skip


def spawn(
    plan: LaunchPlan | ExecPlan, files: tuple[int, int, int], join: Sequence[int] = ()
) -> tuple[int, int]:
    """Forks the command; returns its pid and a pipe that tells of a failure to execute it.

    ``join`` are open files through which it enters its control groups.

    The pipe ends empty once the command runs, or delivers ``<exit code> <message>``.
    """
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiving)
        _execute(plan, files, join, sending)
    os.close(sending)
    return pid, receiving


def failure(pipe: int) -> tuple[int, str] | None:
    """Waits until the command runs (``None``) or could not be executed (why)."""
    text = b""
    while chunk := os.read(pipe, 4096):
        text += chunk
    os.close(pipe)
    if not text:
        return None
    code, _, message = text.decode(errors="replace").partition(" ")
    return int(code), message


def _execute(
    plan: LaunchPlan | ExecPlan, files: tuple[int, int, int], join: Sequence[int], report: int
) -> NoReturn:
    try:
        for group in join:
            os.write(group, b"0")
        os.setsid()
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        if plan["tty"]:
            terminal.control(0)
        _change_folder(plan["cwd"])
        _become(plan["credentials"])
        os.umask(0o022)
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        os.write(report, _explain(plan["argv"][0], error).encode())
    finally:
        os._exit(127)


def _change_folder(folder: str) -> None:
    """A working directory that does not exist is made, as container runtimes do."""
    try:
        os.chdir(folder)
    except FileNotFoundError:
        os.makedirs(folder)
        os.chdir(folder)


def _become(who: Credentials) -> None:
    if who["capabilities"] is not None:
        linux.limit_capabilities(who["capabilities"])
    if who["gid"] is not None or who["groups"]:
        os.setgroups(who["groups"])
    if who["gid"] is not None:
        os.setgid(who["gid"])
    if who["uid"] is not None:
        os.setuid(who["uid"])
    if who["no_new_privileges"]:
        linux.forbid_new_privileges()


def _explain(program: str, error: OSError) -> str:
    if error.errno == errno.ENOENT and "/" not in program:
        return f'127 exec: "{program}": executable file not found in $PATH'
    code = 127 if error.errno == errno.ENOENT else 126
    return f'{code} exec: "{program}": {error.strerror or error}'
