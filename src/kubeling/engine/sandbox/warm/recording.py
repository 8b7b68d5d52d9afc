"""What happens while modules are imported ahead: who needs whom, and on what it depends.

A module that was set aside may only be handed out later if importing it then would make the same
one. So it is noted which modules it needs and which variables of the environment it has looked at;
and what it did beside being there, to be done when it is handed out: variables that it set, filters
of warnings, finders of modules, and what it registered to be called at the end of the process. That
it changed something else that a program could see is found by looking at the interpreter before and
after (:func:`look`).
"""

from __future__ import annotations

import _frozen_importlib
import builtins
import os
import sys

from kubeling.engine.sandbox.warm.filters import Filters
from kubeling.engine.sandbox.warm.finders import Finders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any


class Recording:
    """Everything noted about modules between :meth:`begin` and :meth:`end`."""

    def __init__(self) -> None:
        self.needs: dict[str, set[str]] = {}
        """By module, those that it imports itself, and its package."""
        self.reads: dict[str, dict[str, str | None]] = {}
        """By module, the variables that it looked at, and what they were."""
        self.looked_for: dict[str, str] = {}
        """By module, how all the variables begin that it looked for among all."""
        self.unsteady: set[str] = set()
        """Modules that looked at all variables."""
        self.exits: dict[str, list[tuple[Any, ...]]] = {}
        """By module, what it registered with :mod:`atexit`."""
        self.sets: dict[str, dict[str, str | None]] = {}
        """By module, the variables that it set or deleted."""
        self.filters = Filters()
        """What modules did to the filters of warnings."""
        self.finders = Finders()
        """What modules did to the finders of modules."""
        self.imported: set[str] = set()
        """All that were imported; others are there because some module has put them there."""
        self.put: dict[str, str] = {}
        """By module that was not imported, which one put it there."""
        self._seen: set[str] = set()
        self._loading: list[str] = []
        self._set_by: dict[str, str] = {}
        self._undo: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Notes all from now on."""
        self._seen.update(sys.modules)
        self._watch_imports()
        self._watch_environment()
        for noting in (self.filters, self.finders):
            noting.begin()
            self._undo.append(noting.end)

    def watch_exits(self, atexit: ModuleType) -> None:
        """Notes what is registered with :mod:`atexit`, too, instead of registering it."""
        real = atexit.register

        def register(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if not self._undo:
                return real(function, *args, **kwargs)
            self.exits.setdefault(self._innermost(), []).append((function, args, kwargs))
            return function

        atexit.register = register  # type: ignore[attr-defined]
        self._undo.append(lambda: setattr(atexit, "register", real))

    def end(self) -> None:
        """Lets everything go its usual way again."""
        for undo in self._undo:
            undo()
        self._undo.clear()

    def _innermost(self) -> str:
        return self._loading[-1] if self._loading else ""

    def _watch_imports(self) -> None:
        find_and_load: Any = _frozen_importlib._find_and_load  # type: ignore[attr-defined]
        plain = builtins.__import__

        def load(name: str, import_: Any) -> Any:
            self._needed(self._innermost(), name)
            self._note()
            self._loading.append(name)
            self.imported.add(name)
            try:
                return find_and_load(name, import_)
            finally:
                self._note()
                self._loading.pop()

        def recorded(
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
            found = plain(name, globals, locals, fromlist, level)
            importer = self._innermost()
            target = _absolute(name, globals, level)
            self._needed(importer, target)
            for item in fromlist or ():
                if f"{target}.{item}" in sys.modules:
                    self._needed(importer, f"{target}.{item}")
            return found

        _frozen_importlib._find_and_load = load  # type: ignore[attr-defined]
        builtins.__import__ = recorded
        self._undo.append(lambda: setattr(_frozen_importlib, "_find_and_load", find_and_load))
        self._undo.append(lambda: setattr(builtins, "__import__", plain))

    def _note(self) -> None:
        """Whatever has changed since the last note is the doing of the module being imported."""
        by = self._innermost()
        self.filters.note(by)
        self.finders.note(by)
        new = sys.modules.keys() - self._seen
        self._seen |= new
        self.put.update(dict.fromkeys(new - self.imported, by))

    def _needed(self, importer: str, name: str) -> None:
        while name:
            self.needs.setdefault(importer, set()).add(name)
            importer, name = name, name.rpartition(".")[0]

    def _read(self, key: str, value: str | None) -> None:
        reader, writer = self._innermost(), self._set_by.get(key)
        if not key.startswith(self.looked_for.get(reader, "")):
            return
        if writer is None:
            self.reads.setdefault(reader, {}).setdefault(key, value)
        else:
            self._needed(reader, writer)  # which sees to it that it reads the same

    def _looked_through(self) -> None:
        reader = self._innermost()
        if reader in _LOOKS_FOR:
            self.looked_for[reader] = _LOOKS_FOR[reader]
        else:
            self.unsteady.add(reader)

    def _wrote(self, key: str, value: str | None) -> None:
        self._set_by[key] = self._innermost()
        self.sets.setdefault(self._innermost(), {})[key] = value

    def _watch_environment(self) -> None:
        recording, before = self, dict(os.environ)

        class Watched(type(os.environ)):  # type: ignore[misc]
            def __getitem__(self, key: str) -> str:
                try:
                    value: str = super().__getitem__(key)
                except KeyError:
                    recording._read(key, None)
                    raise
                recording._read(key, value)
                return value

            def __setitem__(self, key: str, value: str) -> None:
                super().__setitem__(key, value)
                recording._wrote(key, value)

            def __delitem__(self, key: str) -> None:
                super().__delitem__(key)
                recording._wrote(key, None)

            def __iter__(self) -> Iterator[str]:
                recording._looked_through()
                return iter(super().__iter__())

        plain = os.environ.__class__
        os.environ.__class__ = Watched
        self._undo.append(lambda: setattr(os.environ, "__class__", plain))
        self._undo.append(lambda: self._unset(before))

    def _unset(self, before: dict[str, str]) -> None:
        for key in self._set_by:
            if key in before:
                os.environ[key] = before[key]
            else:
                os.environ.pop(key, None)


_LOOKS_FOR = {"tqdm.std": "TQDM_"}
"""Modules that look at all variables for those that begin so, and at no others."""
_ITS_OWN = ("__main__", "_frozen_importlib", "_frozen_importlib_external")
"""Modules of the interpreter that change with every import."""


def _absolute(name: str, globals: Any, level: int) -> str:
    if not level:
        return name
    package = globals.get("__package__") or ""
    if not package and "__path__" not in globals:
        package = str(globals.get("__name__", "")).rpartition(".")[0]
    base = package.rsplit(".", level - 1)[0]
    return f"{base}.{name}" if name else str(base)


def look(fresh: dict[str, ModuleType]) -> dict[str, Any]:
    """What a program could see of the interpreter, beside the modules imported ahead."""
    signals: Any = fresh["_signal"]
    warnings: Any = fresh["_warnings"]
    found: dict[str, Any] = {
        "sys.path": list(sys.path),
        "sys.meta_path": list(sys.meta_path),
        "sys.path_hooks": list(sys.path_hooks),
        "the environment": dict(os.environ._data),  # type: ignore[attr-defined]
        "warning filters": list(warnings.filters),
        "handlers of signals": [signals.getsignal(number) for number in range(1, 32)],
        "the working directory": os.getcwd(),
        "threads": _threads(),
        "open files": os.listdir("/proc/self/fd"),
    }
    for name, module in fresh.items():
        if name not in _ITS_OWN:
            inside = {key: _seen(value) for key, value in vars(module).items()}
            children = [key for key in inside if f"{name}.{key}" in sys.modules]
            for key in (*children, "__warningregistry__"):
                inside.pop(key, None)
            found[f"module {name}"] = inside
    return found


def _threads() -> int:
    """How many there are, but for Arrow's that gives memory back: its allocator bears forks."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as file:
            count += file.read() != "jemalloc_bg_thd\n"
    return count


def _seen(value: Any) -> Any:
    """What tells a value from another: ``time.tzset``, which pandas calls, makes equal ones."""
    if isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, tuple):
        return tuple(map(_seen, value))
    return id(value)
