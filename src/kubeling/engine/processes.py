"""Containers as supervised processes of this machine: the runtime of the images in the catalogue.

Puts together what the sandbox needs to know (:mod:`.assembly`), bounds it by control groups, and
removes both when it is over.
"""

from __future__ import annotations

from kubeling.engine.assembly import ContainerParts, launch_plan
from kubeling.engine.cgroups import Bounds, Cgroups, bounds_of
from kubeling.engine.containers import Exit, RunningContainer, Supervisors
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.rootfs import HostView
from kubeling.engine.runtime import Attempt
from kubeling.engine.sandbox.plan import LaunchPlan
from kubeling.engine.templates import Templates
from kubeling.engine.walls import Walls

__all__ = ["ProcessRuntime"]


class ProcessRuntime:
    """Implements :class:`~kubeling.engine.runtime.PodRuntime`."""

    def __init__(
        self,
        supervisors: Supervisors,
        walls: Walls,
        cgroups: Cgroups,
        host: HostView,
        templates: Templates | None = None,
    ) -> None:
        self._supervisors = supervisors
        self._walls = walls
        self._cgroups = cgroups
        self._host = host
        self._templates = templates

    async def start(self, attempt: Attempt) -> RunningContainer:
        paths, parts = attempt.paths, attempt.parts
        bounds = bounds_of(parts.container, parts.pod)
        try:
            limits = self._cgroups.limit(_group(paths), bounds)
            plan = launch_plan(parts, limits, paths, self._walls, self._host)
            return await self._start(parts, plan)
        except BaseException:
            self._cgroups.release(_group(paths))
            raise

    async def _start(self, parts: ContainerParts, plan: LaunchPlan) -> RunningContainer:
        """Starts it, with the way to what its command may be forked from, if there is that."""
        if self._templates is None or not self._templates.are_for(plan):
            return await self._supervisors.start(plan)
        with self._templates.offer(parts, plan) as offer:
            running = await self._supervisors.start(plan, offer.way, offer.waiting)
        running.on_begin(offer.begun)
        return running

    def find(self, paths: ContainerPaths) -> RunningContainer | Exit | None:
        return self._supervisors.find(paths)

    async def end(self, paths: ContainerPaths) -> None:
        await self._supervisors.end(paths)

    async def resize(self, paths: ContainerPaths, bounds: Bounds) -> str:
        return self._cgroups.change(_group(paths), bounds)

    async def clean_up(self, paths: ContainerPaths) -> None:
        """What the container changed in its private root goes with it; log and records stay."""
        self._cgroups.release(_group(paths))
        await self._supervisors.clean_up(paths)


def _group(paths: ContainerPaths) -> str:
    """The name of an attempt's control group: that of its folder among all pods'."""
    return f"{paths.pod}.{paths.container}.{paths.attempt}"
