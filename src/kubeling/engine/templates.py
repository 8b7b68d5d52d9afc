"""Interpreters kept for a while, which Python commands are forked from (:mod:`.sandbox.warm`).

An optimisation only: a command is offered a template if one is there that it could as well have
started itself, and is executed wherever that is in doubt. A template is started in the background
when an environment is used for the second time within a while, and ends when it was not used for a
while, when what it has imported has changed on disk, or when memory is short.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubeling.engine.assembly import ContainerParts, template_view, working_folder
from kubeling.engine.launcher import Launcher, LaunchError
from kubeling.engine.preloading import modules_ahead
from kubeling.engine.pythoncommand import PythonCommand
from kubeling.engine.rootfs import HostView
from kubeling.engine.sandbox.plan import LaunchPlan
from kubeling.engine.sharing import sharing_of
from kubeling.engine.shellcommand import warm_command
from kubeling.engine.templatechecks import has_room, is_ordinary, look, overlap
from kubeling.engine.templatefailures import Failures
from kubeling.engine.templatekeys import TemplateKey, key_of
from kubeling.engine.templatestart import (
    Template,
    shared_variables,
    start_template,
    template_plan,
)
from kubeling.engine.trees import remove_tree
from kubeling.engine.walls import Walls
from kubeling.kube import objects

__all__ = ["ANNOTATION", "Offer", "Templates"]

log = logging.getLogger(__name__)

ANNOTATION: Final = "kubeling.io/warm-python"
"""On a pod: ``"false"`` has its commands executed. On a Deployment: ``"ready"`` has interpreters
kept for its pods' commands, while there are no pods, too."""

_MOST: Final = 3
_MOST_KEPT: Final = 6
_AGAIN_KEPT_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a container's command may be forked from, if anything."""

    begun: Callable[[bool], None]
    """To be called when the command runs, with whether it was forked."""
    way: tuple[int, ...] = ()
    """The way to a template."""
    waiting: socket.socket | None = None
    """The way to a supervisor that stands by, with a fork of the template."""


@dataclass(slots=True)
class Templates:
    """The templates of one platform. All methods belong to one event loop."""

    launcher: Launcher
    folder: Path
    walls: Walls
    host: HostView
    idle_seconds: float
    now: Callable[[], float]
    forked: int = 0
    """How many Python commands were forked so far."""
    executed: int = 0
    """How many were executed."""
    _ready: dict[TemplateKey, Template] = field(default_factory=dict)
    _starting: dict[TemplateKey, asyncio.Task[None]] = field(default_factory=dict)
    _used: dict[TemplateKey, float] = field(default_factory=dict)
    _failures: Failures = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _kept: dict[TemplateKey, tuple[PythonCommand, ContainerParts]] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None
    _again: asyncio.TimerHandle | None = None
    _removing: set[asyncio.Task[None]] = field(default_factory=set)
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._failures = Failures(self.now)

    def on_failure(self, listener: Callable[[], None]) -> None:
        """Tells when one could not be started."""
        self._listeners.append(listener)

    def why_not(self, parts: ContainerParts) -> str:
        """Why no template can be had for a container; empty if nothing is known against it."""
        command = warm_command(parts.argv, parts.env)
        if command is None or not _wants(parts):
            return ""
        key = key_of(command, parts.env, parts.entry.ahead)
        return "" if key is None else self._failures.reason(key)

    @property
    def running(self) -> int:
        """How many are ready."""
        return len(self._ready)

    @property
    def standing_by(self) -> int:
        """How many of them have a fork wait for the next container."""
        return sum(template.standby.waits for template in self._ready.values())

    def are_for(self, plan: LaunchPlan) -> bool:
        """Whether a command is a Python interpreter's."""
        return warm_command(plan["argv"], plan["env"]) is not None

    def keep(self, wanted: Iterable[ContainerParts]) -> None:
        """Has templates for these commands until this is called again, and others no longer than
        they are used. Those of the first are kept if there are too many.
        """
        kept: dict[TemplateKey, tuple[PythonCommand, ContainerParts]] = {}
        for parts in wanted:
            command = warm_command(parts.argv, parts.env)
            if command is None or not _wants(parts) or len(kept) == _MOST_KEPT:
                continue
            if (key := key_of(command, parts.env, parts.entry.ahead)) is not None:
                kept.setdefault(key, (command, parts))
        for key in self._kept.keys() - kept.keys():
            if (template := self._ready.get(key)) is not None:
                template.used_at = self.now()
        self._kept = kept
        self._start_kept()

    def _start_kept(self) -> None:
        """Starts those that are to be there and are not; looks again where that is not possible."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        missing = self._kept.keys() - self._ready.keys() - self._starting.keys()
        due = {key for key in missing if self._failures.may_try(key)}
        # With less to spare, one that has ended for that would begin and end all the time.
        if due and not has_room(2):
            self._start_kept_later(_AGAIN_KEPT_SECONDS)
            return
        for key in due:
            self._begin(key, *self._kept[key])
        if (pause := self._failures.pause(missing - due)) is not None:
            self._start_kept_later(pause)

    def _start_kept_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._again is not None and self._again.when() > loop.time() + seconds:
            self._again.cancel()
            self._again = None
        if self._again is None:
            self._again = loop.call_later(seconds, self._start_kept)

    def _count(self, forked: bool) -> None:
        if forked:
            self.forked += 1
        else:
            self.executed += 1

    @contextlib.contextmanager
    def offer(self, parts: ContainerParts, plan: LaunchPlan) -> Iterator[Offer]:
        """The way to a template for a container about to be started, noted in its plan."""
        template = self._find(parts, plan)
        if template is None:
            yield Offer(self._count)
            return
        namespaces = plan["namespaces"]

        def begun(forked: bool) -> None:
            self._count(forked)
            # Steps follow one another; what an image is known for does not.
            if forked and not parts.entry.ahead:
                template.standby.prepare(namespaces)

        way = os.dup(template.way.fileno())
        waiting = template.standby.take(namespaces)
        try:
            yield Offer(begun, (way,), waiting)
        finally:
            os.close(way)
            if waiting is not None:
                waiting.close()

    def stand_by(self, parts: ContainerParts) -> None:
        """Has a fork wait for a container of these parts, which is to be started in a moment."""
        command = warm_command(parts.argv, parts.env)
        if command is None or not _wants(parts) or not has_room():
            return
        key = key_of(command, parts.env, parts.entry.ahead)
        if key is not None and (template := self._ready.get(key)) is not None:
            template.standby.prepare(sharing_of(parts.pod, self.walls, 0).own)

    def _find(self, parts: ContainerParts, plan: LaunchPlan) -> Template | None:
        command = warm_command(plan["argv"], plan["env"])
        if command is None or not is_ordinary(plan) or not _wants(parts):
            return None
        if (key := key_of(command, plan["env"], parts.entry.ahead)) is None:
            return None
        template = self._ready.get(key)
        if template is None:
            self._consider(key, command, parts)
            return None
        if template.seen != look(template.seen) or not has_room():
            self._end(key)
            return None
        if any(overlap(v.target, place) for v in parts.volumes for place in template.places):
            return None
        if not template.suits({**plan["env"], **command.warm["env"]}):
            return None
        template.used_at = self.now()
        plan["warm"] = command.warm
        return template

    def _consider(self, key: TemplateKey, command: PythonCommand, parts: ContainerParts) -> None:
        now = self.now()
        used_at = self._used.get(key)
        self._used = {k: at for k, at in self._used.items() if now - at < _AGAIN_SECONDS}
        self._used[key] = now
        if used_at is None or now - used_at > _AGAIN_SECONDS:
            return
        if key in self._starting or not self._failures.may_try(key) or not has_room():
            return
        if len((self._ready.keys() | self._starting.keys()) - self._kept.keys()) >= _MOST:
            return
        self._begin(key, command, parts)

    def _begin(self, key: TemplateKey, command: PythonCommand, parts: ContainerParts) -> None:
        starting = self._start(key, command, parts)
        task = self._starting[key] = asyncio.create_task(starting, name="template")
        task.add_done_callback(lambda done: self._begun(key, done))

    def _begun(self, key: TemplateKey, done: asyncio.Task[None]) -> None:
        del self._starting[key]
        if done.cancelled():
            return
        if error := done.exception():
            log.error("no template of %s", key.program, exc_info=error)
            return
        self._start_kept()

    async def _start(self, key: TemplateKey, command: PythonCommand, parts: ContainerParts) -> None:
        """Starts a template; if what the program imports does not bear that, one without it."""
        folder = working_folder(parts, self.walls, self.host)
        certain, named = await asyncio.to_thread(modules_ahead, command, parts.argv, folder)
        certain += key.ahead
        env = shared_variables(parts.env) | dict(key.settings) | command.warm["env"]
        for modules in ([*certain, *named], certain) if named else (certain,):
            try:
                self._ready[key] = await self._try(key, parts, env, modules)
            except LaunchError as error:
                log.info("no template of %s: %s", key.program, error)
                failure = error
            else:
                self._failures.forget(key)
                asyncio.get_running_loop().add_reader(self._ready[key].way, self._end, key)
                self._wait()
                return
        self._failures.note(key, failure)
        for tell in self._listeners:
            tell()

    async def _try(
        self, key: TemplateKey, parts: ContainerParts, env: Mapping[str, str], modules: list[str]
    ) -> Template:
        folder = self.folder / f"{os.getpid()}-{next(self._numbers)}"
        plan = template_plan(key, env, template_view(parts, folder, self.walls, self.host))
        try:
            return await start_template(self.launcher, plan, folder, modules, self.now())
        except BaseException:
            self._remove(folder)
            raise

    def _wait(self) -> None:
        if self._timer is None and self._ready:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.idle_seconds, self._release)

    def _release(self) -> None:
        """Ends those that were not used for long, and all others if memory is short."""
        self._timer = None
        now, room = self.now(), has_room()
        for key, template in list(self._ready.items()):
            idle = now - template.used_at >= self.idle_seconds and key not in self._kept
            if idle or not room:
                self._end(key)
        self._wait()

    def _end(self, key: TemplateKey) -> None:
        """A template is not wanted any more, or has ended."""
        template = self._ready.pop(key)
        asyncio.get_running_loop().remove_reader(template.way)
        template.close()
        self._remove(template.folder)
        if key in self._kept:
            self._start_kept_later(_AGAIN_KEPT_SECONDS)

    def _remove(self, folder: Path) -> None:
        task = asyncio.create_task(asyncio.to_thread(remove_tree, folder))
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    async def close(self) -> None:
        """Lets all end."""
        self._kept = {}
        if self._again is not None:
            self._again.cancel()
        for task in list(self._starting.values()):
            task.cancel()
        for key in list(self._ready):
            self._end(key)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*self._starting.values(), *self._removing, return_exceptions=True)


def _wants(parts: ContainerParts) -> bool:
    return objects.annotations(parts.pod).get(ANNOTATION, "true") != "false"
