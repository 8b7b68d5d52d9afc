"""Starting a template: in a view of the machine such as containers have, without their network.

Its standard files are of the kinds that a container's command has, since an interpreter makes its
streams by what it finds; what importing ahead prints is kept in a pipe that nobody reads from.
"""

from __future__ import annotations

import os
import signal

from kubeling.engine.sandbox import command, root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from kubeling.engine.sandbox.plan import TemplatePlan

CONTROL = 3
OUTPUT = 4
_LONGEST_SECONDS = 150
"""How long a template may take until it is ready: longer than anybody waits for it."""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
_BOOT = """(lambda sys, fresh: (\
sys.modules.update(kubeling=type(sys)("kubeling")),\
setattr(sys.modules["kubeling"], "__path__", [{path!r}]),\
__import__("kubeling.engine.sandbox.warm.template", fromlist=["main"]).main(fresh)\
))(__import__("sys"), dict(__import__("sys").modules))"""
"""Run with ``-c``; leaves no name behind, and the package of the platform to no search."""


def start(plan: TemplatePlan, control: int) -> NoReturn:
    """Executes the template, in the namespaces that this process begins in."""
    root.enter(plan["root"], plan["mounts"], "/", [])
    output, printed = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, printed, printed)):
        os.dup2(file, number)
    control, output = _move(control), _move(output)
    os.dup2(control, CONTROL)
    os.dup2(output, OUTPUT)
    os.closerange(5, 1 << 16)
    for number in command.RESET:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    # What importing never comes back from would be left behind.
    signal.alarm(_LONGEST_SECONDS)
    boot = _BOOT.format(path=_PACKAGE)
    argv = [plan["argv0"], *plan["options"], "-c", boot]
    os.execve(plan["program"], argv, plan["env"])


def _move(file: int) -> int:
    """Another number for a file, out of the way of those that are wanted."""
    import fcntl

    return fcntl.fcntl(file, fcntl.F_DUPFD, 64)
