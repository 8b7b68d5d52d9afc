"""One container: its walls, its command, its log and, when it is over, its exit record.

The supervisor is the first process inside the container's namespaces: it hands signals on, collects
orphans and, by ending, ends whatever is left. It needs nobody: after the control plane and the
zygote are gone it keeps the log and leaves the record that a restarted agent will find. While it
lives it holds the FIFO ``alive`` open, which is how the agent sees its end, at once and without
trusting process ids; a byte in it says that the command runs, and whether it was executed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from kubeling.engine.sandbox import command, keyboard, linux, records, root, terminal
from kubeling.engine.sandbox.keyboard import Keyboard
from kubeling.engine.sandbox.limits import WATCH_SECONDS, Guard
from kubeling.engine.sandbox.pump import Log, Pump
from kubeling.engine.sandbox.warm.asking import fork_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from types import FrameType

    from kubeling.engine.sandbox.plan import Credentials, LaunchPlan

ALIVE = "alive"
EXECUTED, FORKED = b"\0", b"\1"
LOG = "log"
START_ERROR = "StartError"
OUT_OF_MEMORY = "OOMKilled"
_PIECE_MILLISECONDS = 50
_ON_LINUX = sys.platform == "linux"
# Nobody has a name in a new user namespace, so this is from the zygote's start.
_OUTER_USER = (os.geteuid(), os.getegid())
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
              signal.SIGUSR2)  # fmt: skip


def launch(
    plan: LaunchPlan,
    record: bytes,
    files: list[int],
    waiting: socket.socket | None,
    launched: Callable[[int], None],
) -> None:
    """Becomes the supervisor of a container, in the namespaces that this process begins in.

    One that joins namespaces of others has none of its own yet. ``record`` is the plan as it is
    kept, ``files`` are what :mod:`.layers` lent, at the other end of ``waiting`` is the fork of a
    template (:mod:`.warm`), if the plan names a command for one. ``launched`` is told the process
    id outside; what was launched can be found from then on. Raises :class:`OSError` before that,
    where the container cannot be started; all later trouble is in the exit record.
    """
    # The first process of a namespace never gets a signal it does not handle: hold them back.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    pid = _outer_pid(plan["namespaces"])
    if plan["namespaces"] & linux.CLONE_NEWUSER:
        _take_name(plan["credentials"])
    folder = os.open(plan["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    alive = os.open(ALIVE, os.O_RDWR | os.O_CLOEXEC, dir_fd=folder)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    log = os.open(LOG, flags, 0o644, dir_fd=folder)
    typed = -1
    if plan["stdin"] or plan["tty"]:
        typed = keyboard.open_fifo(folder, once=plan["stdin_once"] and not plan["tty"])
    if plan["network"]:
        network = os.open(plan["network"], os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(network, linux.CLONE_NEWNET)
        os.close(network)
    if plan["joined"]:
        linux.enter(plan["beside"], plan["joined"])
        linux.unshare(plan["namespaces"])
    for name, value in plan["sysctls"].items():
        _write(f"/proc/sys/{name}", value)
    if plan["joined"]:
        pid = os.fork()  # only a child has the process ids that were joined
    if pid:
        records.write(folder, records.STATE, {"pid": pid, "started_at": time.time()}, record)
        launched(pid)
    if not pid or not plan["joined"]:
        os.setsid()
        ended = _supervise(plan, alive, log, typed, files[1:], waiting)
        records.write_surely(folder, records.EXIT, ended)


def _outer_pid(namespaces: int) -> int:
    """This process' id where the machine's ``/proc``, not yet covered, was mounted."""
    if namespaces & linux.CLONE_NEWPID:
        return int(os.readlink("/proc/self"))
    return os.getpid()


def _take_name(who: Credentials) -> None:
    """Gives the one user of the new user namespace its names inside."""
    uid, gid = _OUTER_USER
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{who['mapped_uid']} {uid} 1")
    _write("/proc/self/gid_map", f"{who['mapped_gid']} {gid} 1")


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(file, text.encode())
    os.close(file)


def _supervise(
    plan: LaunchPlan,
    alive: int,
    log: int,
    typed: int,
    views: list[int],
    waiting: socket.socket | None,
) -> Mapping[str, int | float | str]:
    started = time.time()
    try:
        container = _Container(log, typed, Guard(plan["limits"]))
        _enter(plan, views)
        container.start(plan, waiting)
        os.write(alive, FORKED if container.is_forked else EXECUTED)
        container.wait()
    except command.Refused as refused:
        return _record(refused.exit_code << 8, started, START_ERROR, str(refused))
    except OSError as error:
        return _record(128 << 8, started, START_ERROR, str(error.strerror or error))
    return _record(container.status, started, OUT_OF_MEMORY if container.out_of_memory else "")


def _enter(plan: LaunchPlan, views: list[int]) -> None:
    if _ON_LINUX:
        linux.set_process_name("kubeling-pod")
        linux.become_subreaper()
    if plan["namespaces"] & linux.CLONE_NEWUTS:
        linux.set_hostname(plan["hostname"])
    if plan["root"] is not None:
        root.enter(plan["root"], plan["mounts"], plan["cwd"], views)
    if _ON_LINUX and os.getpid() == 1 and not plan["namespaces"] & linux.CLONE_NEWUSER:
        # Without being root, whoever runs commands in here has to look in as its own user.
        linux.forbid_tracing()


def _record(
    status: int, started: float, reason: str = "", message: str = ""
) -> Mapping[str, int | float | str]:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {
        "exit_code": 128 + number if number else os.WEXITSTATUS(status),
        "signal": number,
        "reason": reason,
        "message": message,
        "started_at": started,
        "finished_at": time.time(),
    }


class _Container:
    """The running command, from fork to the last byte of its output."""

    def __init__(self, log: int, typed: int, guard: Guard) -> None:
        self.status = 0
        self.is_forked = False
        self._guard = guard
        self._log = Log(log)
        self._typed = typed
        self._keyboard: Keyboard | None = None
        self._pid = 0
        self._pumps: list[Pump] = []
        self._ended = False
        self._terminating = False
        self._stop_signal: int = signal.SIGTERM
        self._wakeup = self._catch_signals()

    def start(self, plan: LaunchPlan, waiting: socket.socket | None) -> None:
        """Executes the command, or lets the fork of a template that waits become it.

        Raises :class:`.command.Refused` if that cannot be done.
        """
        self._stop_signal = plan["stop_signal"]
        files = self._terminal(plan) if plan["tty"] else self._pipes(plan)
        if waiting is not None:
            self._pid = fork_command(waiting, plan, files, self._guard.join)
            self.is_forked = self._pid > 0
        if not self.is_forked:
            self._pid = command.spawn(plan, files, self._guard.join)
        for file in set(files):
            os.close(file)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)

    def _terminal(self, plan: LaunchPlan) -> tuple[int, int, int]:
        ours, theirs = terminal.open_terminal(plan["credentials"])
        os.set_blocking(ours, False)
        self._pumps = [Pump(ours, self._log, "stdout", at_once=True)]
        self._keyboard = Keyboard(self._typed, os.dup(ours), is_terminal=True)
        return theirs, theirs, theirs

    def _pipes(self, plan: LaunchPlan) -> tuple[int, int, int]:
        if plan["stdin"]:
            in_end, target = os.pipe()
            self._keyboard = Keyboard(self._typed, target, is_terminal=False)
        else:
            in_end = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self._pumps = [Pump(out, self._log, "stdout"), Pump(err, self._log, "stderr")]
        return in_end, out_end, err_end

    def wait(self) -> None:
        """Returns when the command has ended, its processes are gone and its log is complete."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        open_pumps = {pump.pipe: pump for pump in self._pumps}
        for pipe in open_pumps:
            poll.register(pipe, select.POLLIN)
        self._reap()
        awaited = -1
        while not self._finished():
            awaited = self._await_input(poll, awaited)
            events = poll.poll(self._patience())
            if not events:
                for pump in self._pumps:
                    pump.flush()
            if self._guard.watches and self._guard.exceeds(descendants(os.getpid())):
                self._signal_all(signal.SIGKILL)
            for ready, _ in events:
                if ready == self._wakeup:
                    os.read(ready, 512)
                    self._reap()
                elif self._keyboard is not None and ready == awaited:
                    self._keyboard.move()
                elif not open_pumps[ready].move():
                    poll.unregister(ready)
        self._end_the_rest()
        for pump in self._pumps:
            pump.drain()

    @property
    def out_of_memory(self) -> bool:
        """Whether the command ended because a process of the container had no memory left."""
        killed = os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL
        return killed and self._guard.out_of_memory()

    def _patience(self) -> float | None:
        """How many milliseconds to wait for something to happen."""
        if any(pump.holds for pump in self._pumps):
            return _PIECE_MILLISECONDS
        return WATCH_SECONDS * 1000 if self._guard.watches else None

    def _await_input(self, poll: select.poll, awaited: int) -> int:
        """Polls for what the keyboard goes on with: something typed, or room for what was."""
        if self._keyboard is None:
            return -1
        wanted, event = self._keyboard.awaited
        if wanted != awaited:
            if awaited >= 0:
                poll.unregister(awaited)
            if wanted >= 0:
                poll.register(wanted, event)
        return wanted

    def _catch_signals(self) -> int:
        waking, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        return waking

    def _forward(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self._terminating = True
            number = self._stop_signal
        if not self._ended:
            _kill(self._pid, number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._terminating = False  # nobody is left to wait for
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._command_ended(status)

    def _command_ended(self, status: int) -> None:
        """A command that does not care for SIGTERM (a shell) leaves children who may."""
        self.status = status
        self._ended = True
        if not self._terminating:
            return
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == self._stop_signal:
            self._signal_all(self._stop_signal)
        else:
            self._terminating = False

    def _finished(self) -> bool:
        return self._ended and not self._terminating

    def _signal_all(self, number: int) -> None:
        """Signals every process of the container but this one."""
        if os.getpid() == 1:
            _kill(-1, number)
            return
        _kill_group(self._pid, number)
        for pid in descendants(os.getpid()) if _ON_LINUX else ():
            _kill(pid, number)

    def _end_the_rest(self) -> None:
        self._signal_all(signal.SIGKILL)
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def descendants(ancestor: int) -> list[int]:
    """The live processes below ``ancestor``, from ``/proc``."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    pending = [ancestor]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _kill_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return
