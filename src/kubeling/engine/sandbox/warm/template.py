"""The template: imports ahead, says whether it can be used, and forks when it is asked to.

It ends when nobody is left who could ask: the agent holds one end of its socket, and lends it to
the supervisors of the containers it starts.
"""

from __future__ import annotations

import sys

from kubeling.engine.sandbox.warm.recording import Recording, look
from kubeling.engine.sandbox.warm.shelf import Shelf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

CONTROL = 3
"""The socket that requests come from."""
OUTPUT = 4
"""Where what is printed can be read."""


def main(fresh: dict[str, ModuleType]) -> None:
    """Serves; ``fresh`` are the modules that an interpreter begins with."""
    _forget_own_text(fresh)
    pristine = dict(vars(sys.modules["__main__"]))
    del sys.path[0]
    before = look(fresh)
    recording = Recording()
    recording.begin()
    import atexit

    recording.watch_exits(atexit)
    from kubeling.engine.sandbox.warm.serving import TRIAL, Server

    server = Server(CONTROL, OUTPUT)
    own = _forget_own_modules()
    imported = import_ahead(server.receive_modules())
    recording.end()
    server.end_threads()
    if reason := server.said_something() or _difference(before, look(fresh)):
        server.refuse(reason, for_good=True)
        return
    shelf = Shelf(recording, fresh, atexit)
    shelf.keep(own)
    server.prepare(pristine)
    shelf.set_aside()
    server.take(shelf)
    if reason := shelf.flaw():
        server.refuse(reason, for_good=True)
        return
    code = server.try_out(imported)
    if code != TRIAL:
        # A signal is not the program's doing.
        server.refuse(f"a trial has ended with {code}", for_good=code > 0)
        return
    server.tell_ready()
    server.serve()


def _forget_own_text(fresh: dict[str, ModuleType]) -> None:
    """Running a text, as this is, has later versions import a module that remembers it."""
    if sys.version_info >= (3, 13) and "linecache" in fresh:
        for name, value in vars(fresh.pop("linecache")).items():
            if name.endswith("cache") and isinstance(value, dict):
                value.clear()


def _forget_own_modules() -> list[ModuleType]:
    """Ours are not the program's, which may have others of their names: the platform's servers."""
    names = [name for name in sys.modules if name.partition(".")[0] == "kubeling"]
    return [sys.modules.pop(name) for name in names]


def import_ahead(names: list[str]) -> list[str]:
    """Imports what can be imported, and says what that was."""
    imported = []
    for name in names:
        try:
            __import__(name)
        except Exception:
            continue  # whoever imports it is told
        imported.append(name)
    return imported


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    changed = [what for what, was in before.items() if after[what] != was]
    return f"importing ahead changes {', '.join(changed)}" if changed else ""
