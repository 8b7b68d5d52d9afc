"""Modules that were imported ahead and set aside, until the program imports them.

A program that is forked from a template finds the modules that a new interpreter has, and no
others. What it imports comes from the shelf, with all that it needs, if importing would make the
same modules now: the variables that they looked at are as they were, no importer was added and no
file earlier on ``sys.path`` has the name of one of them. Otherwise it is imported as ever.

That cannot be where libraries with extensions are among them, as NumPy and PyTorch are: a process
makes those once, and here it has. They come from the shelf whatever the program did meanwhile, if
it did not put other files of their names first, and a container whose variables they would have
looked at with another result is not forked for.
"""

from __future__ import annotations

import _frozen_importlib
import os
import sys
from _frozen_importlib_external import ExtensionFileLoader, PathFinder

from kubeling.engine.sandbox.warm.freshening import freshen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

    from kubeling.engine.sandbox.warm.recording import Recording

_SHOWN_AS = "<frozen importlib._bootstrap>"


class Shelf:
    """The modules aside; made when all of them are imported, and filled by :meth:`set_aside`."""

    def __init__(
        self, recording: Recording, fresh: dict[str, ModuleType], atexit: ModuleType
    ) -> None:
        self._recording = recording
        self._fresh = fresh
        self._register: Callable[..., Any] = atexit.register
        self._meta_path = list(sys.meta_path)
        self._path_hooks = list(sys.path_hooks)
        self._path = list(sys.path)
        self._listed: dict[str, tuple[int, frozenset[str]]] = {}
        self._children: dict[str, tuple[str, str]] = {}
        self._aside: dict[str, ModuleType] = {}
        self._order: dict[str, int] = {}
        self._closures: dict[str, frozenset[str]] = {}
        self._made_once: frozenset[str] = frozenset()
        self._bound: frozenset[str] = frozenset()
        self._taken: dict[str, ModuleType] = {}
        self._kept: list[ModuleType] = []

    def set_aside(self) -> None:
        """Leaves the modules of a new interpreter; all others can be had from here."""
        loaded = {name: module for name, module in sys.modules.items() if name not in self._fresh}
        for name, module in loaded.items():
            self._take_from_package(name, module)
            if name not in self._recording.imported:
                by = self._recording.put.get(name, name.rpartition(".")[0])
                self._recording.needs.setdefault(by, set()).add(name)
        for name in loaded:
            del sys.modules[name]
        self._aside.update((name, module) for name, module in loaded.items() if module)
        self._order = {name: place for place, name in enumerate(self._aside)}
        self._closures = {name: self._closure(name) for name in self._aside}
        self._made_once = frozenset(filter(self._is_made_once, self._aside))
        self._bound = frozenset(
            name for name in self._aside if not self._made_once.isdisjoint(self._closures[name])
        )
        for name in [name for name in self._aside if self._is_useless(name)]:
            del self._aside[name]
        self._install()

    def keep(self, modules: list[ModuleType]) -> None:
        """Modules that are nobody's to import, and have to be there all the same."""
        self._kept = modules

    @property
    def contents(self) -> list[object]:
        """The modules, and what is known of them."""
        known = [self._aside, self._order, self._closures, self._children, self._recording]
        return [*known, *self._aside.values(), *self._kept]

    @property
    def files(self) -> set[str]:
        """Where the modules come from."""
        found = (getattr(module, "__file__", None) for module in self._aside.values())
        return {file for file in found if isinstance(file, str)}

    @property
    def variables(self) -> dict[str, str | None]:
        """The variables that libraries with extensions depend on, and what they were."""
        reads = (self._recording.reads.get(name, {}) for name in self._needed_by_bound())
        return {key: value for read in reads for key, value in read.items()}

    @property
    def prefixes(self) -> list[str]:
        """How further variables begin that they depend on: there were no others."""
        looked_for = self._recording.looked_for
        return sorted({looked_for[name] for name in self._needed_by_bound() if name in looked_for})

    def _needed_by_bound(self) -> set[str]:
        """What may be handed out without a look at its variables."""
        bound = self._bound.intersection(self._aside)
        return {needed for name in bound for needed in self._closures[name]}

    def _take_from_package(self, name: str, module: ModuleType) -> None:
        """A package shows only those of its modules that were imported."""
        parent, _, child = name.rpartition(".")
        package = sys.modules.get(parent)
        if package is not None and getattr(package, "__dict__", {}).get(child) is module:
            self._children[name] = parent, child
            delattr(package, child)

    def _closure(self, name: str) -> frozenset[str]:
        found = {name}
        pending = [name]
        while pending:
            for needed in self._recording.needs.get(pending.pop(), ()):
                if needed not in found and needed not in self._fresh and needed in self._aside:
                    found.add(needed)
                    pending.append(needed)
        return frozenset(found)

    def _is_useless(self, name: str) -> bool:
        return not self._recording.unsteady.isdisjoint(self._closures[name])

    def _is_made_once(self, name: str) -> bool:
        """Whether it is an extension; the standard library's can be made again."""
        loader = getattr(self._aside[name], "__loader__", None)
        own = name.partition(".")[0] in sys.stdlib_module_names
        return isinstance(loader, ExtensionFileLoader) and not own

    def flaw(self) -> str:
        """Why nothing can be forked with these modules, if so."""
        for name in sorted(self._made_once - self._aside.keys()):
            by = sorted(self._recording.unsteady & self._closures[name])[0]
            return f"{name} needs {by}, which looks at all variables when it is imported"
        return ""

    def _install(self) -> None:
        real: Callable[[str, Any], Any] = _frozen_importlib._find_and_load  # type: ignore[attr-defined]
        aside, take = self._aside, self.take

        def _find_and_load(name: str, import_: Any) -> Any:
            if name in aside and take(name):
                return sys.modules[name]
            return real(name, import_)

        # What failed to be imported is told without the steps in between, by this name.
        _find_and_load.__code__ = _find_and_load.__code__.replace(co_filename=_SHOWN_AS)
        _frozen_importlib._find_and_load = _find_and_load  # type: ignore[attr-defined]

    def take(self, name: str) -> bool:
        """Hands out a module with all that it needs; ``False`` if it has to be imported."""
        wanted, bound = self._closures[name], name in self._bound
        new = [one for one in wanted if one in self._aside and one not in sys.modules]
        if bound and self._are_hidden(self._made_once.intersection(new)):
            return False
        if not bound and not self._would_be_the_same(new):
            return False
        for needed in wanted:
            there = sys.modules.get(needed)
            if there is None and needed not in self._aside:
                return False
            if there is not None and there is not self._taken.get(needed) and not bound:
                return False
        new.sort(key=self._order.__getitem__)
        for needed in new:
            self._taken[needed] = sys.modules[needed] = self._aside.pop(needed)
        for needed in new:
            self._do_as_imported(needed)
        for needed in wanted:
            if needed in self._children and needed in self._taken:
                parent, child = self._children.pop(needed)
                setattr(sys.modules[parent], child, self._taken[needed])
        return True

    def leave(self) -> None:
        """At the end of the process, when all that was registered with :mod:`atexit` has run.

        Modules that came from here are not taken apart, which would copy what forks share. Whether
        that happens to what is left at the end is not guaranteed by the language.
        """
        for name, module in self._taken.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def leave_at_exit(self) -> None:
        """To be called before anything else is registered: that runs earlier."""
        self._register(self.leave)

    def _do_as_imported(self, name: str) -> None:
        """Does what importing would have done to the process, or with its time and its luck."""
        for function, args, kwargs in self._recording.exits.pop(name, ()):
            self._register(function, *args, **kwargs)
        for variable, value in self._recording.sets.pop(name, {}).items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        self._recording.filters.hand_out(name)
        self._recording.finders.hand_out(name)
        freshen(name, self._taken[name])

    def _would_be_the_same(self, names: Iterable[str]) -> bool:
        """Whether importing would find the same files, and make the same modules of them."""
        finders = [*self._meta_path, *self._recording.finders.handed_out]
        if sys.meta_path != finders or sys.path_hooks != self._path_hooks:
            return False
        return self._are_found(names) and self._reads_as_before(names)

    def _reads_as_before(self, names: Iterable[str]) -> bool:
        for name in names:
            read = self._recording.reads.get(name, {})
            if any(os.environ.get(variable) != value for variable, value in read.items()):
                return False
            prefix = self._recording.looked_for.get(name)
            if prefix and any(one.startswith(prefix) and one not in read for one in os.environ):
                return False
        return True

    def _are_found(self, names: Iterable[str]) -> bool:
        """Whether nothing was put before the files that they come from."""
        known = frozenset(self._path)
        if [entry for entry in sys.path if entry in known] != self._path:
            return False
        tops = {name.partition(".")[0] for name in names}
        return all(
            tops.isdisjoint(self._names_in(entry)) for entry in sys.path if entry not in known
        )

    def _are_hidden(self, names: Iterable[str]) -> bool:
        """Whether importing would find other files: not what only has the name of a library."""
        tops = {name.partition(".")[0] for name in names} - self._taken.keys()
        return not self._are_found(tops) and any(map(self._is_hidden, tops))

    def _is_hidden(self, top: str) -> bool:
        found = PathFinder.find_spec(top)
        return found is not None and found.origin != getattr(self._aside.get(top), "__file__", None)

    def _names_in(self, folder: str) -> frozenset[str]:
        """What the files in a folder could be imported as."""
        try:
            folder = folder or os.getcwd()
            changed = os.stat(folder).st_mtime_ns
            if folder not in self._listed or self._listed[folder][0] != changed:
                stems = frozenset(entry.partition(".")[0] for entry in os.listdir(folder))
                self._listed[folder] = changed, stems
            return self._listed[folder][1]
        except FileNotFoundError:
            return frozenset()
        except OSError:
            return frozenset(self._closures)
