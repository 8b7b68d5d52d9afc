"""What a template does once it has imported: tells what it has, and forks."""

from __future__ import annotations

import _socket
import contextlib
import fcntl
import gc
import marshal
import os
import signal
import sys
import termios

from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.warm.entering import LAST_ID, Entrance
from kubeling.engine.sandbox.warm.interpreter import Interpreter, Unsupported
from kubeling.engine.sandbox.warm.memory import SharedMemory
from kubeling.engine.sandbox.warm.wire import CLOSE_ON_EXEC, FORMAT, KNOCK, MOST_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from kubeling.engine.sandbox.warm.shelf import Shelf

_LARGEST = 1 << 20
TRIAL = 37
"""How a program ends that was forked to see whether that can be done."""


def _own_process_ids() -> int:
    """A file that stands for the process ids which this process is in."""
    if sys.platform != "linux":
        raise Unsupported("not on this system")
    return os.pidfd_open(os.getpid())


class Server:
    """One template's work; nothing is imported any more after :meth:`prepare`."""

    def __init__(self, control: int, output: int) -> None:
        self._control = _socket.socket(fileno=control)
        self._output = output
        self._process_ids = -1
        self._far_away = 0
        os.set_inheritable(control, False)
        os.set_inheritable(output, False)

    def receive_modules(self) -> list[str]:
        modules: list[str] = marshal.loads(self._control.recv(_LARGEST))
        return modules

    def end_threads(self) -> None:
        """Libraries that can be forked end their threads before that, until there is work again:
        OpenBLAS does. Those that cannot keep theirs, and the template is of no use.
        """
        if len(os.listdir("/proc/self/task")) > 1:
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)

    def said_something(self) -> str:
        """Whether anything was printed, which would be missing later."""
        sys.stdout.flush()
        waiting = fcntl.ioctl(self._output, termios.FIONREAD, b"\0" * 4)
        return "importing ahead prints something" if any(waiting) else ""

    def refuse(self, reason: str, *, for_good: bool) -> None:
        """Says why it cannot be used; what is so ``for_good`` holds for these packages."""
        self._send({"useless": reason, **({"seen": sorted(set(sys.path))} if for_good else {})})

    def prepare(self, pristine: dict[str, Any]) -> None:
        """Gets ready what forks need."""
        self._pristine = pristine
        try:
            self._interpreter = Interpreter()
            self._process_ids = _own_process_ids()
            self._interpreter.show(sys.orig_argv, dict(os.environ))
            os.close(os.open(LAST_ID, os.O_RDWR | os.O_CLOEXEC))
            with open("/proc/sys/kernel/pid_max") as file:
                self._far_away = int(file.read()) - 1
        except (Unsupported, OSError) as error:
            self.refuse(str(error), for_good=isinstance(error, Unsupported))
            os._exit(0)

    def take(self, shelf: Shelf) -> None:
        """All that forks begin with is there now."""
        self._shelf = shelf
        for thing in (self, *shelf.contents):
            self._interpreter.keep(thing)
        gc.collect()
        gc.freeze()
        self._memory = SharedMemory()

    def try_out(self, names: list[str]) -> int:
        """Forks for a program that does no more than to import the same again; how that ended.

        What is not handed out is imported once more then, as it would be in a container, which
        libraries may not bear: ``torch`` crashes, NumPy refuses.
        """
        linux.become_subreaper()
        helper = os.fork()
        if helper == 0:
            try:
                self._entrance().try_out(names, TRIAL)
            finally:
                os._exit(1)
        os.waitpid(helper, 0)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])
        except ChildProcessError:
            return -1

    def _entrance(self) -> Entrance:
        return Entrance(self._interpreter, self._shelf, self._pristine, self._memory)

    def tell_ready(self) -> None:
        """Says what was imported from where, so that it is seen when that changes."""
        signal.alarm(0)
        shelf = self._shelf
        folders = {os.path.dirname(file) for file in shelf.files}
        own = (sys.prefix, sys.base_prefix)
        loose = {file for file in shelf.files if not file.startswith(own)}
        self._send(
            {
                "variables": shelf.variables,
                "prefixes": shelf.prefixes,
                "seen": sorted(folders | loose | set(sys.path)),
                "places": sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path}),
            }
        )

    def _send(self, answer: dict[str, Any]) -> None:
        self._control.send(marshal.dumps(answer, FORMAT))

    def serve(self) -> NoReturn:
        """Forks for every request."""
        while True:
            data, ancillary, _, _ = self._control.recvmsg(
                len(KNOCK), _socket.CMSG_SPACE(4 * MOST_FILES), CLOSE_ON_EXEC
            )
            if not data:
                os._exit(0)
            files = [file for _, _, rights in ancillary for file in memoryview(rights).cast("i")]
            # Whoever asked sees by itself that nobody will answer.
            with contextlib.suppress(OSError):
                self._fork(files)
            for file in files:
                os.close(file)

    def _fork(self, files: list[int]) -> None:
        pid = -1
        linux.setns(files[1], linux.CLONE_NEWPID)
        try:
            # The command is to have the id that it would have, so this one takes another.
            pid = linux.fork_as(self._far_away)
        finally:
            if pid:
                linux.setns(self._process_ids, linux.CLONE_NEWPID)
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            self._entrance().go_in(files, self._far_away)
        finally:
            os._exit(1)
