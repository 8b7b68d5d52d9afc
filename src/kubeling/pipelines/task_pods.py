"""Creating and stopping what tasks run in: pods, and the claims of ``CreatePVC`` tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kubeling.artifacts.errors import ArtifactAway, ArtifactError, NoRoom
from kubeling.component import Context
from kubeling.kube.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound
from kubeling.kube.objects import Obj, is_owned_by, name, namespace
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from kubeling.pipelines.active import ActiveRun, UnusableRun
from kubeling.pipelines.bindings import BindingError
from kubeling.pipelines.claims import CREATE, IMAGES, claim_to_create, claim_to_delete
from kubeling.pipelines.executor_io import attempt_folder, output_folders
from kubeling.pipelines.large_arguments import take_large_arguments
from kubeling.pipelines.launcher import LauncherError
from kubeling.pipelines.nodes import Outputs, TaskError, TaskNode
from kubeling.pipelines.placeholders import PlaceholderError
from kubeling.pipelines.platform_values import SettingsError
from kubeling.pipelines.pods import PodRequest, build_pod, pod_name
from kubeling.pipelines.sightings import PodSeen
from kubeling.pipelines.staging import fetch_inputs

__all__ = ["Launched", "TaskPods"]

_AT_ONCE: Final = 16
_STOP_NOW: Final = {"spec": {"activeDeadlineSeconds": 1}}
_STOPPING: Final = "stopping"
_UNFIT: Final = (PlaceholderError, BindingError, SettingsError, LauncherError)


@dataclass(slots=True)
class Launched:
    """What came of launching tasks: endings known at once, pods of before, a full quota or disk."""

    seen: list[PodSeen] = field(default_factory=list)
    found: list[Obj] = field(default_factory=list)
    held_back: bool = False
    no_room: str = ""

    def hold(self, node: TaskNode, why: Exception) -> None:
        """Leaves a task for later."""
        node.message = str(why)
        self.held_back = True
        if isinstance(why, NoRoom):
            self.no_room = str(why)


class TaskPods:
    """The pods of container tasks. Every method may be repeated after a crash."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client

    async def launch(self, active: ActiveRun, nodes: Sequence[TaskNode]) -> Launched:
        """Creates what the nodes run in, many at once."""
        launched, gate = Launched(), asyncio.Semaphore(_AT_ONCE)
        try:
            await asyncio.to_thread(self._make_folders, active, nodes)
        except NoRoom as error:
            for node in nodes:
                active.execution.touch(node)
                launched.hold(node, error)
            return launched
        except (ArtifactError, OSError) as error:
            raise UnusableRun(f"cannot write to the artifact store: {error}") from error
        try:
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(self._launch_one(active, node, gate, launched))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return launched

    async def stop(self, active: ActiveRun, nodes: Sequence[TaskNode]) -> None:
        """Stops pods and keeps them, for their logs: a deadline that has passed does that."""
        for node in nodes:
            if node.message == _STOPPING:
                continue
            node.message = _STOPPING
            where = namespace(active.run)
            try:
                await self._client.patch(PODS, node.pod, _STOP_NOW, where)
            except NotFound:
                continue
            except Invalid:
                await self._client.delete(PODS, node.pod, where, missing_ok=True)

    def _make_folders(self, active: ActiveRun, nodes: Sequence[TaskNode]) -> None:
        for node in nodes:
            for folder in output_folders(attempt_folder(active.execution.facts.folder, node)):
                self._context.artifacts.make_folder(folder)

    async def _launch_one(
        self, active: ActiveRun, node: TaskNode, gate: asyncio.Semaphore, launched: Launched
    ) -> None:
        execution = active.execution
        executor = execution.spec.executor_of(execution.component_of(node)).container
        image = executor.image if executor is not None else ""
        attempt = PodSeen(node.path, node.attempt, node.epoch, "Failed", may_retry=False)
        execution.changed.add(node.path)
        async with gate:
            try:
                if image in IMAGES:
                    launched.seen.append(await self._claim(active, node, image))
                else:
                    store = self._context.artifacts
                    await fetch_inputs(active, self._client, store, node.inputs)
                    await self._create(active, node, launched)
            except (Forbidden, NoRoom) as error:
                launched.hold(node, error)
            except (Invalid, BadRequest, *_UNFIT) as error:
                launched.seen.append(attempt.with_error(TaskError(str(error), 3)))
            except ArtifactError as error:
                if isinstance(error, ArtifactAway) and self._may_wait(active, node):
                    launched.hold(node, error)
                    return
                text = f"its inputs cannot be fetched: {error}"
                failed = attempt.with_error(TaskError(text, 14))
                launched.seen.append(replace(failed, may_retry=True))

    def _may_wait(self, active: ActiveRun, node: TaskNode) -> bool:
        """Whether the store of an input has not been away for too long."""
        now = self._context.clock.monotonic()
        since = active.away_since.setdefault((node.path, node.attempt), now)
        return now - since < active.launcher.patience

    async def _create(self, active: ActiveRun, node: TaskNode, launched: Launched) -> None:
        execution = active.execution
        own_name = pod_name(execution.facts.name, execution.facts.run_id, node)
        request = PodRequest(
            active.run, execution, node, active.platform, active.volume_folder, active.launcher
        )
        pod = build_pod(request)
        await self._put_arguments(active, node, pod)
        try:
            await self._client.create(PODS, pod)
        except AlreadyExists:
            launched.found.append(await self._find(active, own_name))
        node.stage, node.pod = "pod", own_name

    async def _put_arguments(self, active: ActiveRun, node: TaskNode, pod: Obj) -> None:
        path = f"{attempt_folder(active.execution.facts.folder, node)}/.arguments.json"
        if (arguments := take_large_arguments(pod, path)) is not None:
            await asyncio.to_thread(self._context.artifacts.put, path, arguments)

    async def _find(self, active: ActiveRun, own_name: str) -> Obj:
        """The pod exists: it is ours from before a crash, or somebody else's."""
        found = await self._client.find(PODS, own_name, namespace(active.run))
        if found is None or not is_owned_by(found, active.run):
            raise Conflict(f'pod "{own_name}" exists and belongs to something else')
        return found

    async def _claim(self, active: ActiveRun, node: TaskNode, image: str) -> PodSeen:
        where, given = namespace(active.run), node.inputs.parameters
        done = PodSeen(node.path, node.attempt, node.epoch, "Succeeded")
        if image != CREATE:
            own_name = claim_to_delete(given)
            await self._client.delete(PERSISTENT_VOLUME_CLAIMS, own_name, where, missing_ok=True)
            return done
        claim = claim_to_create(given, name(active.run), where)
        with contextlib.suppress(AlreadyExists):
            await self._client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        return done.with_outputs(Outputs({"name": name(claim)}))
