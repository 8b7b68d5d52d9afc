"""What a Workflow has the controller do itself: requests, resources, lists of artifacts.

Upstream starts pods for these (its agent, ``argoexec resource``, ``argoexec data``). Here each is a
task of the controller, so that it costs no process and may wait for days; at most
:data:`AT_ONCE` are busy at the same time. Nothing is kept of an errand but its node: after a crash
it is begun again, so that it happens at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from kubeling.kube.clock import Clock
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Key, Obj, key_of, uid
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.places import OWN, Repository
from kubeling.workflows.resources import Inputs, Outputs, Phase

__all__ = ["AT_ONCE", "Errand", "ErrandFailed", "ErrandResult", "Errands", "account_of"]

logger = logging.getLogger(__name__)

AT_ONCE: Final = 32


class ErrandFailed(Exception):
    """An errand came to a bad end; the message is the node's."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One node's work; ``raw`` is its template with the tags replaced, ``account`` its user.

    ``repository`` is where artifacts lie that it names by their keys alone.
    """

    node_id: str
    raw: Obj
    inputs: Inputs | None
    account: str
    repository: Repository = OWN


def account_of(workflow: Obj, spec: Obj, template: Obj) -> str:
    """The user a template acts as: its executor's service account, its own, or the Workflow's."""
    for holder in (template, spec):
        name = (holder.get("executor") or {}).get("serviceAccountName")
        name = name or holder.get("serviceAccountName")
        if name:
            return f"system:serviceaccount:{workflow['metadata']['namespace']}:{name}"
    return f"system:serviceaccount:{workflow['metadata']['namespace']}:default"


@dataclass(frozen=True, slots=True)
class ErrandResult:
    """How an errand ended, or what it says while it goes on (then it has no phase)."""

    node_id: str
    phase: Phase
    message: str = ""
    outputs: Outputs | None = None
    log: str = ""


Do = Callable[[Obj, Errand, asyncio.Semaphore, ErrandLog], Awaitable[Outputs | None]]
"""Does an errand of a Workflow, holding the semaphore while it is busy and not while it waits."""


class Errands:
    """The errands under way. Tasks belong to the group given to :meth:`within`."""

    def __init__(self, do: Do, clock: Clock, news: Callable[[Key], None]) -> None:
        self._do = do
        self._clock = clock
        self._news = news
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._results: dict[str, list[ErrandResult]] = {}

    def within(self, group: asyncio.TaskGroup) -> None:
        """Gives the tasks their owner."""
        self._group = group

    def start(self, workflow: Obj, errand: Errand) -> None:
        """Begins an errand, unless it is under way."""
        tasks = self._tasks.setdefault(uid(workflow), {})
        if errand.node_id not in tasks:
            assert self._group is not None, "the controller is not running"
            tasks[errand.node_id] = self._group.create_task(
                self._run(workflow, errand), name=f"errand {errand.node_id}"
            )

    def cancel(self, workflow: Obj, node_id: str) -> None:
        """Gives an errand up."""
        task = self._tasks.get(uid(workflow), {}).pop(node_id, None)
        if task is not None:
            task.cancel()

    def results(self, workflow_uid: str) -> list[ErrandResult]:
        """What has ended, or been said, since this was last asked."""
        return self._results.pop(workflow_uid, [])

    def forget(self, workflow_uid: str) -> None:
        """Ends all errands of a Workflow."""
        self._results.pop(workflow_uid, None)
        for task in self._tasks.pop(workflow_uid, {}).values():
            task.cancel()

    async def _run(self, workflow: Obj, errand: Errand) -> None:
        def publish(text: str) -> None:
            self._tell(workflow, ErrandResult(errand.node_id, "", log=text))

        log = ErrandLog(self._clock.now, publish)
        phase: Phase = "Succeeded"
        message, outputs = "", None
        try:
            outputs = await self._do(workflow, errand, self._gate, log)
        except (ErrandFailed, ApiError, ConnectionError) as problem:
            phase, message = "Failed", str(problem)
        except Exception as problem:
            # One errand's failure must not end the controller for all the others.
            logger.exception("errand %s", errand.node_id)
            phase, message = "Error", f"{type(problem).__name__}: {problem}"
        if message:
            log.say(f"{phase}: {message}")
        if self._tasks.get(uid(workflow), {}).pop(errand.node_id, None) is not None:
            result = ErrandResult(errand.node_id, phase, message, outputs, log.text)
            self._tell(workflow, result)

    def _tell(self, workflow: Obj, result: ErrandResult) -> None:
        self._results.setdefault(uid(workflow), []).append(result)
        self._news(key_of(workflow))
