"""Modules that have something of their process' own from the moment they are imported.

What they have is made again when they are handed out: the time, or what nobody else may guess.
:mod:`random` sees to that itself in every fork.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def freshen(name: str, module: Any) -> None:
    """Makes what is the process' own in a module anew."""
    if renew := _RENEWALS.get(name):
        renew(module)


def _logging(module: Any) -> None:
    time = sys.modules["time"]
    now = time.time if sys.version_info < (3, 13) else time.time_ns
    module._startTime = now()


def _process(module: Any) -> None:
    """The main process has a key that its children prove themselves with."""
    module._current_process = type(module._current_process)()


def _numpy(module: Any) -> None:
    """The generator behind the functions of ``numpy.random``."""
    module.seed()


_RENEWALS: dict[str, Callable[[Any], None]] = {
    "logging": _logging,
    "multiprocessing.process": _process,
    "numpy.random.mtrand": _numpy,
}
