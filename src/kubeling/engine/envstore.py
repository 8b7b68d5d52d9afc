"""The environments on disk, and which of them to give up.

What was last used longest ago goes first: all that nobody has used for long, and more while all
together take too much. What runs, or was used a moment ago, stays whatever it takes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from kubeling.engine.config import EngineConfig
from kubeling.engine.envfolder import COMPLETE, built_size, size_of
from kubeling.engine.paths import EnginePaths
from kubeling.engine.trees import remove_tree
from kubeling.kube.clock import Clock

__all__ = [
    "Stored",
    "collect",
    "environments_in_use",
    "keep_tidy",
    "unneeded",
]

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 600.0
"""How long after its use an environment stays in any case: a container may be starting in it."""

_NAME: Final = re.compile(r"[0-9a-f]{16}")
_GONE: Final = ".gone-"
_NEVER: Final = -1.0
_DAY: Final = 86_400.0
_GIB: Final = 1024.0**3
_FIRST_SECONDS: Final = 60.0
_PERIOD_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Stored:
    """An environment on disk."""

    name: str
    size: int
    used_at: float


def unneeded(
    stored: Iterable[Stored],
    in_use: Collection[str],
    now: float,
    *,
    max_age: float,
    max_size: float,
) -> list[str]:
    """The environments to remove, in order; a limit of 0 is none. Pure."""
    ordered = sorted(stored, key=lambda s: (s.used_at, s.name))
    total = sum(s.size for s in ordered)
    removed = []
    for candidate in ordered:
        idle = now - candidate.used_at
        if candidate.name in in_use or idle < GRACE_SECONDS:
            continue
        if (max_age and idle > max_age) or (max_size and total > max_size):
            removed.append(candidate.name)
            total -= candidate.size
    return removed


def environments_in_use(paths: EnginePaths) -> set[str]:
    """Those of all containers that have not ended, whoever started them: their plans name them.

    While one is being started nobody knows which it is, so it may be any.
    """
    wanted = re.compile(re.escape(f"{paths.environments}/") + f"({_NAME.pattern})/")
    found: set[str] = set()
    for pod in os.listdir(paths.pods):
        for attempt in paths.pod(pod).all_attempts():
            if attempt.exit.exists() or attempt.engine.exists():
                continue
            try:
                found.update(wanted.findall(attempt.state.read_text()))
            except FileNotFoundError:
                return set(os.listdir(paths.environments))
    return found


async def collect(
    paths: EnginePaths,
    now: float,
    is_building: Callable[[str], bool],
    *,
    max_age: float,
    max_size: float,
) -> list[str]:
    """Removes what is not needed, and what a crash has left half made; returns the names."""
    stored = await asyncio.to_thread(lambda: list(_stored(paths.environments, is_building)))
    # No container can start in between: all is decided and renamed in one turn of the event loop.
    stored = [s for s in stored if _used_at(paths.environments / s.name) == s.used_at]
    doomed = [s.name for s in stored if s.used_at == _NEVER and not is_building(s.name)]
    whole = [s for s in stored if s.used_at != _NEVER]
    in_use = environments_in_use(paths)
    doomed += unneeded(whole, in_use, now, max_age=max_age, max_size=max_size)
    for name in doomed:
        (paths.environments / name).rename(paths.environments / f"{_GONE}{name}")
        for ahead in paths.environments.glob(f".{name}.copy*"):  # of a seed
            ahead.rename(paths.environments / f"{_GONE}{ahead.name}")
    for left in paths.environments.glob(f"{_GONE}*"):
        await asyncio.to_thread(remove_tree, left)
    if doomed:
        log.info("removed environments that were not needed: %s", ", ".join(doomed))
    return doomed


def _stored(folder: Path, is_building: Callable[[str], bool]) -> Iterator[Stored]:
    """All environments but those being built; one that is not whole was never used."""
    for home in folder.iterdir():
        if _NAME.fullmatch(home.name) and not is_building(home.name):
            yield Stored(home.name, built_size(home) or size_of(home), _used_at(home))


def _used_at(home: Path) -> float:
    try:
        return (home / COMPLETE).stat().st_mtime
    except FileNotFoundError:
        return _NEVER


class Builds(Protocol):
    """What is known of builds: which are under way, and that one has ended."""

    changed: asyncio.Event

    def is_building(self, name: str) -> bool: ...


async def keep_tidy(config: EngineConfig, builds: Builds, clock: Clock) -> None:
    """Removes what is not needed: soon after the start, after each build and every hour."""
    max_age = config.environments_max_age_days * _DAY
    max_size = config.environments_max_gib * _GIB
    await clock.sleep(_FIRST_SECONDS)
    while True:
        builds.changed.clear()
        now = clock.now().timestamp()
        try:
            await collect(config.paths, now, builds.is_building, max_age=max_age, max_size=max_size)
        except OSError as error:
            log.warning("environments could not be tidied: %s", error)
        waiting = asyncio.create_task(builds.changed.wait())
        hour = asyncio.create_task(clock.sleep(_PERIOD_SECONDS))
        try:
            await asyncio.wait([waiting, hour], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            hour.cancel()
