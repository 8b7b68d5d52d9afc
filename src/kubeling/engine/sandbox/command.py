"""Executing a command with the identity, folder and environment its plan names."""

from __future__ import annotations

import errno
import os
import signal

from kubeling.engine.sandbox import linux, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TypeVar

    from kubeling.engine.sandbox.plan import Credentials, ExecPlan, LaunchPlan

    T = TypeVar("T")

RESET = tuple(
    getattr(signal, name)
    for name in ("SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2",
                 "SIGPIPE", "SIGXFSZ")
    if hasattr(signal, name)
)  # fmt: skip
UMASK = 0o022
"""What commands begin with."""


class Refused(Exception):
    """A command that could not be executed, with the exit code a shell would report."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def spawn(
    plan: LaunchPlan | ExecPlan, files: tuple[int, int, int], join: Sequence[int] = ()
) -> int:
    """Starts the command; returns its pid once it runs, or raises :class:`Refused`.

    ``join`` are open files through which it enters its control groups. The limits of the command
    may become the caller's own, for whatever it would execute later.
    """
    if join or plan["tty"] or _changes_user(plan["credentials"]):
        return _fork(plan, files, join)
    try:
        _limit(plan["credentials"])
        os.umask(UMASK)
        change_folder(plan["cwd"])
        try:
            return _spawn(plan, files)
        finally:
            os.chdir("/")
    except OSError as error:
        raise _refused(plan, error) from None


def _spawn(plan: LaunchPlan | ExecPlan, files: tuple[int, int, int]) -> int:
    """Without copying this process, which would take longer than all the rest."""
    actions = [(os.POSIX_SPAWN_DUP2, file, standard) for standard, file in enumerate(files)]

    def start(program: str) -> int:
        os.stat(program)  # a process that cannot execute it would be a start in vain
        return os.posix_spawn(
            program,
            plan["argv"],
            plan["env"],
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=RESET,
        )

    return _first_found(plan, start)


def _fork(plan: LaunchPlan | ExecPlan, files: tuple[int, int, int], join: Sequence[int]) -> int:
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiving)
        _execute(plan, files, join, sending)
    os.close(sending)
    text = b""
    while chunk := os.read(receiving, 4096):
        text += chunk
    os.close(receiving)
    if not text:
        return pid
    os.waitpid(pid, 0)
    code, _, message = text.decode(errors="replace").partition(" ")
    raise Refused(int(code), message)


def _execute(
    plan: LaunchPlan | ExecPlan, files: tuple[int, int, int], join: Sequence[int], report: int
) -> NoReturn:
    try:
        for group in join:
            os.write(group, b"0")
        os.setsid()
        for number in RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        if plan["tty"]:
            terminal.control(0)
        change_folder(plan["cwd"])
        become(plan["credentials"])
        os.umask(UMASK)
        _first_found(plan, lambda program: os.execve(program, plan["argv"], plan["env"]))
    except OSError as error:
        refused = _refused(plan, error)
        os.write(report, f"{refused.exit_code} {refused}".encode())
    finally:
        os._exit(127)


def _first_found(plan: LaunchPlan | ExecPlan, start: Callable[[str], T]) -> T:
    """Starts the program where execvp(3) would find it; raises the error that it would."""
    failure: OSError | None = None
    for program in _candidates(plan):
        try:
            return start(program)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failure = failure or error
    raise failure or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _candidates(plan: LaunchPlan | ExecPlan) -> list[str]:
    program = plan["argv"][0]
    if "/" in program:
        return [program]
    folders = plan["env"].get("PATH", os.defpath).split(os.pathsep)
    return [f"{folder or '.'}/{program}" for folder in folders]


def change_folder(folder: str) -> None:
    """A working directory that does not exist is made, as container runtimes do."""
    try:
        os.chdir(folder)
    except FileNotFoundError:
        os.makedirs(folder)
        os.chdir(folder)


def _changes_user(who: Credentials) -> bool:
    return who["uid"] is not None or who["gid"] is not None or bool(who["groups"])


def become(who: Credentials) -> None:
    """Takes on the identity and the limits of a container's command."""
    if who["gid"] is not None or who["groups"]:
        os.setgroups(who["groups"])
    _limit(who)
    if who["gid"] is not None:
        os.setgid(who["gid"])
    if who["uid"] is not None:
        os.setuid(who["uid"])


def _limit(who: Credentials) -> None:
    if who["capabilities"] is not None:
        linux.limit_capabilities(who["capabilities"])
    if who["no_new_privileges"]:
        linux.forbid_new_privileges()


def _refused(plan: LaunchPlan | ExecPlan, error: OSError) -> Refused:
    program = plan["argv"][0]
    if error.errno == errno.ENOENT and "/" not in program:
        return Refused(127, f'exec: "{program}": executable file not found in $PATH')
    code = 127 if error.errno == errno.ENOENT else 126
    return Refused(code, f'exec: "{program}": {error.strerror or error}')
