"""What the agent asks of the sandbox processes, as plain data.

The agent decides everything and writes it down in a plan; the processes that fork only follow it.
Plans travel as :mod:`marshal` (no import needed) and are kept as JSON beside the container.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

__all__ = [
    "Credentials",
    "ExecPlan",
    "ExitRecord",
    "LaunchPlan",
    "Limits",
    "Mount",
    "ProgramFile",
    "Root",
    "TemplatePlan",
    "WarmCommand",
]


class Mount(TypedDict):
    """One thing to mount, in order. ``source`` is a path outside, ``target`` one inside.

    ``bind`` shares the source, ``copy`` gives a copy-on-write view of it, ``device`` makes another
    one like it, ``file`` makes one in memory that holds ``data``, ``mask`` hides what is at the
    target.
    """

    kind: Literal["bind", "copy", "device", "file", "tmpfs", "proc", "devpts", "symlink", "mask"]
    source: str
    target: str
    read_only: bool
    data: str


class Root(TypedDict):
    """A copy-on-write view of the machine's files.

    ``directory`` takes what the container changes; with ``in_memory`` it becomes a tmpfs (for disks
    that cannot hold an overlay). Without ``whole`` it is put together from the top folders.
    ``open`` are folders to let every user pass through. In the end the folders ``sealed`` become
    read-only, with all that is mounted in them but by the plan.
    """

    directory: str
    in_memory: bool
    whole: bool
    open: list[str]
    sealed: list[str]


class Credentials(TypedDict):
    """Who the command runs as; ``capabilities`` is ``None`` where they cannot be limited.

    In a user namespace there is one user: ``mapped_uid`` and ``mapped_gid`` are its names inside.
    """

    uid: int | None
    gid: int | None
    groups: list[int]
    mapped_uid: int
    mapped_gid: int
    capabilities: list[int] | None
    no_new_privileges: bool


class Limits(TypedDict):
    """What bounds a container.

    ``join`` are the control groups' files its command enters through, ``events`` is the one that
    counts the kernel's kills for want of memory. ``memory`` is in bytes and watched by the
    supervisor; 0 where a control group does that, or nothing is to be watched.
    """

    join: list[str]
    events: str
    memory: int


class ProgramFile(TypedDict):
    """A file in a temporary folder: its name, what word of the plan's ``argv`` it holds, and the
    place in the warm ``argv`` that its path takes."""

    name: str
    text: int
    place: int


class WarmCommand(TypedDict):
    """The command as a template of its interpreter may run it instead of its being executed.

    At ``place`` in ``argv`` stands the text, the module or the script, according to ``kind``.
    ``env`` are variables beside the container's; with ``shell`` they are what a shell would hand
    on, too. A ``file`` is written first.
    """

    kind: Literal["command", "module", "file"]
    argv: list[str]
    place: int
    env: dict[str, str]
    shell: bool
    file: NotRequired[ProgramFile]


class LaunchPlan(TypedDict):
    """One container to start. ``directory`` receives its log and its records.

    With ``stdin`` or ``tty`` the folder holds a FIFO that what clients type goes through. The
    command gets ``stop_signal`` where its supervisor gets SIGTERM. ``joined`` are the namespaces
    that it shares with the process ``beside`` instead of having its own. ``sysctls`` are files
    below ``/proc/sys`` to be written in its namespaces. With ``warm`` a way to a template is sent
    along, which the command may be forked from.
    """

    directory: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    namespaces: int
    network: str
    hostname: str
    root: Root | None
    mounts: list[Mount]
    credentials: Credentials
    stdin: bool
    stdin_once: bool
    tty: bool
    stop_signal: int
    beside: int
    joined: int
    limits: Limits
    sysctls: dict[str, str]
    warm: NotRequired[WarmCommand]


class TemplatePlan(TypedDict):
    """One interpreter to start and to fork from (:mod:`.warm`), seeing what a container would.

    ``argv0`` is what it is called; ``options`` are its own.
    """

    program: str
    argv0: str
    options: list[str]
    env: dict[str, str]
    namespaces: int
    root: Root
    mounts: list[Mount]


class ExecPlan(TypedDict):
    """One command to run inside a running container.

    Its standard files are sent along; with ``tty`` a terminal is sent back instead.
    """

    target: int
    namespaces: int
    argv: list[str]
    env: dict[str, str]
    cwd: str
    credentials: Credentials
    tty: bool
    join: list[str]


class ExitRecord(TypedDict):
    """How a container ended (``exit.json``); times are seconds since the epoch.

    ``signal`` is the one that ended it, or 0. ``reason`` says why it never started, or that it ran
    out of memory.
    """

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: float
    finished_at: float
