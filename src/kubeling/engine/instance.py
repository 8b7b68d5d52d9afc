"""One container of one pod: carries out what the pod's rules decide and reports what happens.

Each step is a task of its own, so that a slow image or hook of one container never holds up
another. Whatever changes is in :attr:`ContainerInstance.state`, and the pod's worker is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

import msgspec

from kubeling.engine.assembly import ContainerParts
from kubeling.engine.cgroups import bounds_of
from kubeling.engine.containers import Exit
from kubeling.engine.execution import PipedExecution
from kubeling.engine.fields import PodFacts
from kubeling.engine.health import PROBES, HealthNews, watch_health
from kubeling.engine.hooks import hook_of, run_hook
from kubeling.engine.launcher import LaunchError
from kubeling.engine.logs import last_text
from kubeling.engine.notready import NotReady
from kubeling.engine.paths import ContainerPaths, PodPaths
from kubeling.engine.pods import ContainerState, Ended, Running, Waiting
from kubeling.engine.preparation import Preparation
from kubeling.engine.probes import ProbeTarget
from kubeling.engine.resizing import resources_of, restarts
from kubeling.engine.runtime import Attempt, Container
from kubeling.engine.sandbox.supervisor import START_ERROR
from kubeling.engine.services import NodeServices
from kubeling.engine.status import image_id_of, status_of, termination_message
from kubeling.engine.trees import remove_tree
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["LEAST_GRACE_SECONDS", "ContainerInstance"]

_KEPT_ATTEMPTS: Final = 2
_MESSAGE_LIMIT: Final = 4096
_HOOK_SECONDS: Final = 300.0
_RETRY_BASE: Final = 10.0
_RETRY_LIMIT: Final = 300.0
_OUTPUT_LIMIT: Final = 10 << 10
LEAST_GRACE_SECONDS: Final = 2.0
"""What a container gets after the signal, however long its hook took."""


class ContainerInstance:
    """A container of a pod, through all its restarts."""

    def __init__(
        self,
        node: NodeServices,
        container: Obj,
        paths: PodPaths,
        wake: Callable[[], None],
    ) -> None:
        self.name: str = container["name"]
        self.state = ContainerState()
        self.image_id = ""
        self._node = node
        self._container = container
        self._pod_paths = paths
        self._wake = wake
        self._running: Container | None = None
        self._starting: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[ContainerParts] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._following: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._news = False
        self._resources = resources_of(container)

    @property
    def resources(self) -> Obj | None:
        """What the running container may use; ``None`` while it does not run."""
        return self._resources if self._running is not None else None

    async def resize(self, facts: PodFacts, container: Obj) -> str:
        """Gives the container the resources it is to have; returns what is in the way of that."""
        if restarts(container, self._resources):
            self._container, self._resources = container, resources_of(container)
            self._restart(facts, f"Container {self.name} resize requires restart", None)
            return ""
        paths = self._paths(self.state.attempt)
        if not (wrong := await self._node.runtime.resize(paths, bounds_of(container, facts.pod))):
            self._container, self._resources = container, resources_of(container)
            self._wake()
        return wrong

    def replace(self, facts: PodFacts, container: Obj) -> None:
        """The container is another one now: what runs of it is ended, by its image at least."""
        changed = container.get("image") != self._container.get("image")
        self._container = {**container, "resources": self._container.get("resources") or {}}
        if changed and self._running is not None:
            why = f"Container {self.name} definition changed, will be restarted"
            self._restart(facts, why, None)

    @property
    def container(self) -> Obj:
        """The container as it was last told."""
        return self._container

    @property
    def busy(self) -> bool:
        """Whether a start is under way; nothing is to be decided about the container then."""
        return self._starting is not None

    @property
    def running(self) -> Container | None:
        """The running attempt, if there is one."""
        return self._running

    # Finding again after a restart of the agent.

    async def adopt(self, facts: PodFacts) -> None:
        """Takes over what an earlier agent started."""
        attempts = self._pod_paths.attempts(self.name)
        if attempts and self._find(attempts[-1]) is None:
            begun = self._paths(attempts.pop())
            await self._node.runtime.end(begun)
            remove_tree(begun.root)
        if not attempts:
            return
        attempt = attempts[-1]
        previous = self._find(attempts[-2]) if len(attempts) > 1 else None
        last = self._explained(previous, attempts[-2]) if isinstance(previous, Exit) else None
        # As with a kubelet, what ended before this agent is no reason to wait: a stop was no crash.
        self.state = ContainerState(Waiting(), attempt, last)
        self.image_id = image_id_of(facts.pod, self.name)
        match self._find(attempt):
            case None:
                return
            case Exit() as ended:
                self._set(Ended(self._explained(ended, attempt)))
            case running:
                self._follow(facts, running, status_of(facts.pod, self.name, attempt))

    # Starting.

    def start(
        self, facts: PodFacts, preparation: Preparation, network: str, beside: int = 0
    ) -> None:
        """Begins to start the next attempt, sharing the ids of a process ``beside`` it."""
        work = self._start(facts, preparation, network, beside)
        self._starting = self._spawn(work, "start")

    def abandon_start(self) -> None:
        """The container is not needed any more: what it waits for before its start neither."""
        if self._preparing is not None:
            self._preparing.cancel()

    def retry_now(self) -> None:
        """Something the container may have waited for has changed."""
        self._news = True
        match self.state.current:
            case Waiting(retry_at=float()) as waiting:
                self._set(replace(waiting, retry_at=None))

    async def _start(
        self, facts: PodFacts, preparation: Preparation, network: str, beside: int
    ) -> None:
        self._news = False
        try:
            parts = await self._prepare(
                preparation.container(facts, self._container, network, beside)
            )
            if parts is None:
                return
            self.image_id = parts.image_id
            attempt = self.state.attempt + 1
            running = await self._node.runtime.start(
                Attempt(parts, self._paths(attempt), self._pod_paths)
            )
        except NotReady as error:
            self._postpone(facts, error)
        except (LaunchError, OSError) as error:
            remove_tree(self._paths(self.state.attempt + 1).root)
            self._postpone(facts, NotReady("CreateContainerError", str(error)))
        else:
            self._begin(facts, running, attempt)
        finally:
            self._starting = None
            self._wake()

    async def _prepare(self, work: Coroutine[Any, Any, ContainerParts]) -> ContainerParts | None:
        """Waits for the parts; ``None`` if they are not needed any more."""
        self._preparing = asyncio.create_task(work, name=f"prepare {self.name}")
        try:
            await asyncio.wait([self._preparing])
            return None if self._preparing.cancelled() else self._preparing.result()
        finally:
            self._preparing.cancel()
            self._preparing = None

    def _begin(self, facts: PodFacts, running: Container, attempt: int) -> None:
        events, pod = self._node.events, facts.pod
        events.normal(pod, "Created", f"Created container: {self.name}")
        events.normal(pod, "Started", f"Started container {self.name}")
        previous = self.state.ended
        crashes = self.state.crashes
        if previous is not None:
            crashes = 1 if self._node.backoff.is_long_run(previous) else crashes + 1
        self.state = ContainerState(Waiting(), attempt, previous, crashes)
        self._failures = 0
        self._follow(facts, running)
        if attempt >= _KEPT_ATTEMPTS:
            for old in self._pod_paths.attempts(self.name)[:-_KEPT_ATTEMPTS]:
                remove_tree(self._paths(old).root)

    def _postpone(self, facts: PodFacts, why: NotReady) -> None:
        delay = min(_RETRY_BASE * 2.0 ** min(self._failures, 16), _RETRY_LIMIT)
        self._failures += 1
        self._node.events.warning(facts.pod, why.event, why.event_message)
        # What it waits for may have come while it was being looked for.
        due = self._node.now() + (0.0 if self._news else delay)
        waiting = Waiting(*self._waiting(facts, why), due)
        self.state = replace(self.state, current=waiting, last=self.state.ended or self.state.last)

    def _waiting(self, facts: PodFacts, why: NotReady) -> tuple[str, str]:
        """Reason and message; those of the first failed pull say only that it failed."""
        if why.reason != "ErrImagePull" or self._failures == 1:
            return why.reason, why.message
        text = f'Back-off pulling image "{self._container["image"]}"'
        self._node.events.normal(facts.pod, "BackOff", text)
        return "ImagePullBackOff", f"{text}: {why.reason}: {why.message}"

    # Running.

    def _follow(self, facts: PodFacts, running: Container, before: Obj | None = None) -> None:
        """Watches a container; ``before`` is what an earlier agent said of it."""
        self._running = running
        self._resources = (before or {}).get("resources") or resources_of(self._container)
        hooked = bool(hook_of(self._container, "postStart")) and before is None
        started = not hooked and "startupProbe" not in self._container
        ready = "readinessProbe" not in self._container
        if before is not None:
            started = started or bool(before.get("started"))
            ready = ready or bool(before.get("ready"))
        self._set(Running(running.started_at, started=started, ready=ready))
        self._watch(self._await_end(facts, running), "wait")
        if hooked or any(kind in self._container for kind in PROBES):
            self._watch(self._attend(facts, running, before), "probes")

    async def _await_end(self, facts: PodFacts, running: Container) -> None:
        ended = await running.wait()
        self._running = None
        for task in self._following - {asyncio.current_task()}:
            task.cancel()
        self._set(Ended(self._explained(ended, self.state.attempt)))
        if ended.reason == START_ERROR:
            self._node.events.warning(facts.pod, "Failed", f"Error: {ended.message}")
        await self._node.runtime.clean_up(running.paths)

    async def _attend(self, facts: PodFacts, running: Container, before: Obj | None) -> None:
        """The hook after the start, then the probes; not again what was done ``before``."""
        await running.wait_begun()
        hook = hook_of(self._container, "postStart") if before is None else {}
        clock, target = self._node.clock, self._target(facts)
        if wrong := await run_hook(hook, target, clock, _HOOK_SECONDS):
            self._node.events.warning(facts.pod, "FailedPostStartHook", wrong)
            self._restart(facts, "FailedPostStartHook", None)
            return
        news = HealthNews(
            started=lambda: self._update(started=True),
            ready=lambda good: self._update(ready=good),
            unhealthy=lambda kind, wrong: self._node.events.warning(
                facts.pod, "Unhealthy", f"{kind.capitalize()} probe failed: {wrong}"
            ),
            failed=lambda kind, grace: self._restart(
                facts, f"Container {self.name} failed {kind} probe, will be restarted", grace
            ),
        )
        started = bool(before and before.get("started"))
        await watch_health(self._container, target, clock, news, started=started)

    # Stopping.

    def stop(self, facts: PodFacts, grace: float, why: str = "") -> None:
        """Begins to stop the container: hook, SIGTERM, and SIGKILL when the grace is over."""
        if self._running is not None and self._stopping is None:
            text = why or f"Stopping container {self.name}"
            self._node.events.normal(facts.pod, "Killing", text)
            self._stopping = self._spawn(self._stop(facts, self._running, grace), "stop")

    def kill(self) -> None:
        """Ends the container now."""
        if self._running is not None:
            self._running.kill()

    async def _stop(self, facts: PodFacts, running: Container, grace: float) -> None:
        clock = self._node.clock
        over = clock.monotonic() + grace
        try:
            hook = hook_of(self._container, "preStop")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    wrong = await run_hook(hook, self._target(facts), clock, grace)
                    if wrong:
                        self._node.events.warning(facts.pod, "FailedPreStopHook", wrong)
            running.signal(signal.SIGTERM)
            async with asyncio.timeout(max(over - clock.monotonic(), LEAST_GRACE_SECONDS)):
                await running.wait()
        except TimeoutError:
            running.kill()
        finally:
            self._stopping = None

    def _restart(self, facts: PodFacts, why: str, grace: float | None) -> None:
        """Ends the container so that it is started again, if its policy says so."""
        seconds = (facts.pod.get("spec") or {}).get("terminationGracePeriodSeconds")
        self.stop(facts, float(30 if seconds is None else seconds) if grace is None else grace, why)

    async def close(self) -> None:
        """Stops watching; the container itself lives on."""
        tasks = [*self._following, *(t for t in (self._starting, self._stopping) if t)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._running is not None:
            self._running.release()

    # Commands inside.

    async def execute(self, facts: PodFacts, command: list[str]) -> tuple[int, str]:
        """Runs a command in the container; returns its exit code and what it said."""
        if (running := self._running) is None:
            return 1, "the container is not running"
        await running.wait_begun()
        plan = running.exec_plan(command)
        launcher = self._node.supervisors.launcher
        session = await PipedExecution.start(launcher, plan, running, stdin=False)
        try:
            said = b""
            async for _, data in session.output():
                said = (said + data)[:_OUTPUT_LIMIT]
            return await session.wait(), said.decode(errors="replace")
        except BadRequest as error:
            return 127, error.message
        finally:
            await session.close()

    def _target(self, facts: PodFacts) -> ProbeTarget:
        ports = {
            port["name"]: int(port["containerPort"])
            for port in self._container.get("ports") or ()
            if port.get("name")
        }
        return ProbeTarget(
            facts.pod_ip or facts.host_ip, ports, lambda command: self.execute(facts, command)
        )

    # Small things.

    def _update(self, **changes: bool) -> None:
        if isinstance(self.state.current, Running):
            self._set(replace(self.state.current, **changes))

    def _set(self, current: Waiting | Running | Ended) -> None:
        if current != self.state.current:
            self.state = replace(self.state, current=current)
            self._wake()

    def _paths(self, attempt: int) -> ContainerPaths:
        return self._pod_paths.container(self.name, attempt)

    def _find(self, attempt: int) -> Container | Exit | None:
        return self._node.runtime.find(self._paths(attempt))

    def _explained(self, ended: Exit, attempt: int) -> Exit:
        paths = self._paths(attempt)
        file = ""
        with contextlib.suppress(FileNotFoundError):
            file = paths.termination_log.read_bytes()[:_MESSAGE_LIMIT].decode(errors="replace")
        fallback = self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        tail = last_text(paths.log) if fallback and ended.exit_code else ""
        message = termination_message(self._container, ended, file, tail)
        return msgspec.structs.replace(ended, message=message)

    def _watch(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        task = self._spawn(work, what)
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=f"{what} {self.name}")
