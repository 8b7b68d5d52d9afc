"""Does to pods what an execution asks for.

Pods are created before the status mentions them, and deleted only after it has their results.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound
from kubeling.kube.objects import is_owned_by, namespace, uid
from kubeling.kube.resources import PODS
from kubeling.workflows.completion import end_pod
from kubeling.workflows.observation import PodObservation, observe_pod
from kubeling.workflows.pods import NODE_ID
from kubeling.workflows.run import Run
from kubeling.workflows.settings import RateLimit
from kubeling.workflows.throttle import Rate

__all__ = ["PodWork"]

_CREATE_AT_ONCE: Final = 16
_RETRY_QUOTA: Final = 2.0
_TOO_FAST: Final = "resource creation rate-limit reached"


class PodWork:
    """Creates, ends and deletes the pods of runs; ``news`` is told of pods that were there."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        news: Callable[[str, PodObservation], None],
        rate: RateLimit | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._news = news
        self._rate = Rate(rate.limit, rate.burst, clock.monotonic) if rate is not None else None

    @property
    def retry_after(self) -> float:
        """When to come back for pods that could not be created yet."""
        return _RETRY_QUOTA if self._rate is None else min(_RETRY_QUOTA, self._rate.wait)

    async def create(self, run: Run) -> None:
        """Creates what is to be created, several at once; what cannot be yet stays."""
        names = list(run.todo.create)
        if self._rate is not None:
            allowed = self._rate.take(len(names))
            for pod_name in names[allowed:]:
                node_id = run.todo.create[pod_name]["metadata"]["annotations"][NODE_ID]
                run.execution.hold_back(node_id, _TOO_FAST)
            del names[allowed:]
        gate = asyncio.Semaphore(_CREATE_AT_ONCE)
        results = await asyncio.gather(
            *(self._create_one(run, pod_name, gate) for pod_name in names),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _create_one(self, run: Run, pod_name: str, gate: asyncio.Semaphore) -> None:
        pod = run.todo.create[pod_name]
        node_id = pod["metadata"]["annotations"][NODE_ID]
        async with gate:
            try:
                await self._client.create(PODS, pod)
            except AlreadyExists:
                await self._adopt(run, pod_name)
            except (Forbidden, Invalid, BadRequest) as error:
                # Room may be made in a quota; nothing else that forbids a pod goes by itself.
                if isinstance(error, Forbidden) and "exceeded quota" in str(error):
                    run.execution.hold_back(node_id, str(error))
                    return
                run.execution.reject(node_id, str(error))
        run.todo.create.pop(pod_name, None)

    async def _adopt(self, run: Run, pod_name: str) -> None:
        """The pod exists: it is ours from before a crash, or a namesake's that has to go."""
        found = await self._client.find(PODS, pod_name, namespace(run.workflow))
        if found is not None and is_owned_by(found, run.workflow):
            seen = observe_pod(found)
            if seen is not None:
                self._news(uid(run.workflow), seen)
            return
        if found is not None:
            await self._client.delete(
                PODS, pod_name, namespace(run.workflow), uid=uid(found), missing_ok=True
            )
        raise Conflict(f'pod "{pod_name}" of an earlier workflow of this name is still there')

    async def stop(self, run: Run) -> None:
        """Deletes pods that are not wanted any more."""
        for pod_name in list(run.todo.stop):
            await self._client.delete(PODS, pod_name, namespace(run.workflow), missing_ok=True)
            run.todo.stop.discard(pod_name)

    async def end(self, run: Run) -> None:
        """Ends what still runs in pods whose step is over."""
        for pod_name in list(run.todo.end):
            with contextlib.suppress(NotFound):
                await end_pod(self._client, pod_name, namespace(run.workflow))
            run.todo.end.discard(pod_name)

    def note_garbage(self, run: Run) -> None:
        """What pods gave has been written: now they may go."""
        for seen in run.over:
            run.garbage.note(seen.pod, seen.labels, seen.over, self._clock.now())
        run.over.clear()

    async def remove_garbage(self, run: Run) -> None:
        """Deletes pods whose time is over."""
        for pod_name in run.garbage.take(self._clock.now()):
            await self._client.delete(PODS, pod_name, namespace(run.workflow), missing_ok=True)
