"""From a fork of a template to the command of a container: by the way that executing it would go.

The fork that the template makes is in the container's process ids already. All it does is to fork
once more and end: its parent being gone, the command is a child of the container's first process,
the supervisor. That second fork is made by a thread which runs nothing but :func:`os.fork`, so that
no frame of Python's lies below the command; in the fork, that thread is the main thread. It waits
until the walls are up and takes on all that the command is to have, while the first one ends.
"""

from __future__ import annotations

import _socket
import _thread
import collections
import functools
import marshal
import operator
import os
import posix
import resource
import select
import signal
import sys
import time

from kubeling.engine.sandbox import command, linux
from kubeling.engine.sandbox.warm import program
from kubeling.engine.sandbox.warm.wire import CLOSE_ON_EXEC, GO, HEADER, MOST_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from kubeling.engine.sandbox.plan import Credentials
    from kubeling.engine.sandbox.warm.interpreter import Interpreter
    from kubeling.engine.sandbox.warm.memory import SharedMemory
    from kubeling.engine.sandbox.warm.shelf import Shelf

NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET
"""What the command shares with its supervisor, beside process ids."""

LAST_ID = "/proc/sys/kernel/ns_last_pid"
"""The process id given last, in those of whoever opens it."""

_PATIENCE_SECONDS = 10.0
_TRIAL_SECONDS = 120
"""Nobody waits for longer, and what hangs when it was forked would be left behind."""
_SMALLEST_STACK = 8 << 20
_LARGEST_STACK = 64 << 20


class Entrance:
    """One command on its way into its container."""

    def __init__(
        self,
        interpreter: Interpreter,
        shelf: Shelf,
        pristine: dict[str, Any],
        memory: SharedMemory,
    ) -> None:
        self._interpreter = interpreter
        self._shelf = shelf
        self._pristine = pristine
        self._memory = memory
        self._forking = False
        self._helper = 0
        self._channel = self._supervisor = self._last_id = -1
        self._before = b""

    def go_in(self, files: list[int], far_away: int) -> NoReturn:
        """In the first fork: makes the second, and ends. ``files`` are what the supervisor sent."""
        self._helper = os.getpid()
        self._step_aside(far_away)
        self._channel, self._supervisor = files
        self._fork()

    def try_out(self, names: list[str], exit_code: int) -> NoReturn:
        """In a fork that is in no container: the second one ends with this code if all is well."""
        again = f"import json, logging, threading, sys; [__import__(name) for name in {names}]"
        text = f"{again}; sys.exit({exit_code})"
        self._interpreter.configure("command", ["python", "-c", text], 2)
        self._fork()

    def _step_aside(self, far_away: int) -> None:
        """Sees to it that the command gets the process id that comes next, not its helpers."""
        self._last_id = os.open(LAST_ID, os.O_RDWR | os.O_CLOEXEC)
        self._before = os.read(self._last_id, 32)
        os.pwrite(self._last_id, str(far_away - 2).encode(), 0)

    def _give_way(self) -> None:
        if self._forking and self._last_id >= 0:
            os.pwrite(self._last_id, self._before, 0)

    def _fork(self) -> NoReturn:
        work = map(operator.methodcaller("__call__"), [self._arrive, self._interpreter.main])
        os.register_at_fork(
            before=self._give_way,
            after_in_child=functools.partial(collections.deque, work, 0),
            after_in_parent=self._leave,
        )
        _thread.stack_size(_stack_size())
        self._forking = True
        _thread.start_new_thread(os.fork, ())
        time.sleep(_PATIENCE_SECONDS)
        os._exit(1)

    def _leave(self) -> None:
        if self._forking:
            os._exit(0)

    def _arrive(self) -> None:
        """In the second fork: the command, a moment before it begins."""
        if not self._forking:
            return  # a fork that the command itself has made
        self._forking = False
        try:
            if self._channel >= 0:
                self._settle()
            else:
                signal.alarm(_TRIAL_SECONDS)
            _thread.stack_size(0)
            main = vars(sys.modules["__main__"])
            main.clear()
            main.update(self._pristine)
            self._shelf.leave_at_exit()
            self._interpreter.begin_anew()
        except BaseException:
            os._exit(1)

    def _settle(self) -> None:
        """Becomes the container's command, once its supervisor says so."""
        request = self._enter()
        os.setsid()
        become(request["credentials"])
        os.umask(command.UMASK)
        program.write(request)
        while os.getppid() != 1 or _is_there(self._helper):
            time.sleep(0.0001)
        os.write(self._channel, str(os.getpid()).encode())
        if os.read(self._channel, 1) != GO:
            os._exit(1)
        os.close(self._channel)
        os.close(self._last_id)

    def _enter(self) -> dict[str, Any]:
        """Waits for the request, and takes on all that a process can before it is the command."""
        # Nothing of the template is held while it waits: whoever looks sees when that has ended.
        _close_all_but(self._channel, self._last_id, self._supervisor)
        self._memory.copy_while(lambda: not _has_news(self._channel))
        request, files = _receive(self._channel)
        for group in files[3:]:
            os.write(group, b"0")
        linux.setns(self._supervisor, NAMESPACES)
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
        _close_all_but(self._channel, self._last_id)
        command.change_folder(request["cwd"])
        program.prepare(request)
        _set_environment(request["env"])
        self._interpreter.show(request["argv"], request["env"])
        self._interpreter.configure(request["kind"], request["argv"], request["place"])
        return request


def become(who: Credentials) -> None:
    """As :func:`.command.become`; what a program loses when it is executed is lost at once."""
    command.become(who)
    if not who["uid"]:
        linux.keep_capabilities_bounded()
    linux.allow_looking_in()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


def _has_news(channel: int) -> bool:
    """Whether something can be read, or the other end is gone."""
    return bool(select.select([channel], [], [], 0)[0])


def _receive(channel: int) -> tuple[dict[str, Any], list[int]]:
    """The request, and the files that come with it."""
    way = _socket.socket(fileno=channel)
    space = _socket.CMSG_SPACE(MOST_FILES * 4)
    head, ancillary, _, _ = way.recvmsg(HEADER, space, CLOSE_ON_EXEC)
    way.detach()
    files = [file for _, _, rights in ancillary for file in memoryview(rights).cast("i")]
    head += _read(channel, HEADER - len(head))
    request: dict[str, Any] = marshal.loads(_read(channel, int.from_bytes(head, "little")))
    return request, files


def _read(channel: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(channel, size - len(data))
        if not piece:
            raise ConnectionResetError("the supervisor has hung up")
        data += piece
    return data


def _set_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    posix.environ.clear()
    posix.environ.update((os.fsencode(k), os.fsencode(v)) for k, v in env.items())


def _close_all_but(*kept: int) -> None:
    first = 3
    for file in sorted(kept):
        os.closerange(first, file)
        first = file + 1
    os.closerange(first, 1 << 16)


def _stack_size() -> int:
    """As a process' first thread has it, within reason."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return _LARGEST_STACK if soft < 0 else max(_SMALLEST_STACK, min(soft, _LARGEST_STACK))
