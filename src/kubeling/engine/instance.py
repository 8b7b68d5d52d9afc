"""One container of one pod: carries out what the pod's rules decide and reports what happens.

Each step is a task of its own, so that a slow image or hook of one container never holds up
another. Whatever changes is in :attr:`ContainerInstance.state`, and the pod's worker is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

import msgspec

from kubeling.engine.assembly import ContainerParts, launch_plan
from kubeling.engine.cgroups import bounds_of
from kubeling.engine.containers import Exit, RunningContainer
from kubeling.engine.fields import PodFacts
from kubeling.engine.launcher import LaunchError
from kubeling.engine.logs import last_text
from kubeling.engine.paths import ContainerPaths, PodPaths
from kubeling.engine.pods import ContainerState, Ended, Running, Waiting
from kubeling.engine.preparation import NotReady, Preparation
from kubeling.engine.probes import ProbeTarget, check, run_probe
from kubeling.engine.sandbox.plan import ExecPlan, LaunchPlan
from kubeling.engine.sandbox.supervisor import START_ERROR
from kubeling.engine.security import credentials
from kubeling.engine.services import NodeServices
from kubeling.engine.status import termination_message
from kubeling.engine.trees import remove_tree
from kubeling.kube.objects import Obj, uid

__all__ = ["ContainerInstance"]

_KEPT_ATTEMPTS: Final = 2
_MESSAGE_LIMIT: Final = 4096
_HOOK_SECONDS: Final = 300.0
_RETRY_BASE: Final = 10.0
_RETRY_LIMIT: Final = 300.0
_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


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
        self._running: RunningContainer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[ContainerParts] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._following: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._news = False

    @property
    def busy(self) -> bool:
        """Whether a start is under way; nothing is to be decided about the container then."""
        return self._starting is not None

    @property
    def running(self) -> RunningContainer | None:
        """The running attempt, if there is one."""
        return self._running

    # Finding again after a restart of the agent.

    def adopt(self, facts: PodFacts) -> None:
        """Takes over what an earlier agent started."""
        attempts = self._pod_paths.attempts(self.name)
        if attempts and self._find(attempts[-1]) is None:
            remove_tree(self._paths(attempts.pop()).root)
        if not attempts:
            return
        attempt = attempts[-1]
        previous = self._find(attempts[-2]) if len(attempts) > 1 else None
        last = self._explained(previous, attempts[-2]) if isinstance(previous, Exit) else None
        self.state = ContainerState(Waiting(), attempt, last, crashes=attempt)
        match self._find(attempt):
            case RunningContainer() as running:
                self._follow(facts, running)
            case Exit() as ended:
                self._set(Ended(self._explained(ended, attempt)))
            case None:
                return

    # Starting.

    def start(self, facts: PodFacts, preparation: Preparation, network: str) -> None:
        """Begins to start the next attempt."""
        self._starting = self._spawn(self._start(facts, preparation, network), "start")

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

    async def _start(self, facts: PodFacts, preparation: Preparation, network: str) -> None:
        self._news = False
        try:
            parts = await self._prepare(preparation.container(facts, self._container, network))
            if parts is None:
                return
            self.image_id = f"kubeling://sha256:{parts.environment.digest}"
            attempt = self.state.attempt + 1
            bounds = bounds_of(self._container)
            plan = launch_plan(
                parts,
                self._node.cgroups.limit(self._group(facts, attempt), bounds),
                self._paths(attempt),
                self._pod_paths,
                self._node.walls,
                self._node.host,
            )
            running = await self._node.runtime.start(plan)
        except NotReady as error:
            self._postpone(facts, error)
        except (LaunchError, OSError) as error:
            remove_tree(self._paths(self.state.attempt + 1).root)
            self._node.cgroups.release(self._group(facts, self.state.attempt + 1))
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

    def _begin(self, facts: PodFacts, running: RunningContainer, attempt: int) -> None:
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
        for old in self._pod_paths.attempts(self.name)[:-_KEPT_ATTEMPTS]:
            remove_tree(self._paths(old).root)

    def _postpone(self, facts: PodFacts, why: NotReady) -> None:
        delay = min(_RETRY_BASE * 2.0 ** min(self._failures, 16), _RETRY_LIMIT)
        self._failures += 1
        self._node.events.warning(facts.pod, why.event, why.event_message)
        # What it waits for may have come while it was being looked for.
        due = self._node.now() + (0.0 if self._news else delay)
        waiting = Waiting(why.reason, why.message, due)
        self.state = replace(self.state, current=waiting, last=self.state.ended or self.state.last)

    # Running.

    def _follow(self, facts: PodFacts, running: RunningContainer) -> None:
        self._running = running
        probed = "startupProbe" in self._container
        hooked = bool(self._hook("postStart"))
        ready = "readinessProbe" not in self._container
        self._set(Running(running.started_at, started=not probed and not hooked, ready=ready))
        self._watch(self._await_end(facts, running), "wait")
        if hooked or any(kind in self._container for kind in _PROBES):
            self._watch(self._attend(facts, running), "probes")

    async def _await_end(self, facts: PodFacts, running: RunningContainer) -> None:
        ended = await running.wait()
        self._running = None
        for task in self._following - {asyncio.current_task()}:
            task.cancel()
        self._set(Ended(self._explained(ended, self.state.attempt)))
        self._node.cgroups.release(self._group(facts, self.state.attempt))
        if ended.reason == START_ERROR:
            self._node.events.warning(facts.pod, "Failed", f"Error: {ended.message}")
        await asyncio.to_thread(_drop_files, running.paths)

    async def _attend(self, facts: PodFacts, running: RunningContainer) -> None:
        """The hook after the start, then the startup probe, then the other two."""
        await running.wait_begun()
        if wrong := await self._run_hook("postStart", _HOOK_SECONDS, facts):
            self._node.events.warning(facts.pod, "FailedPostStartHook", wrong)
            self._kill_softly(facts)
            return
        if "startupProbe" in self._container:
            await self._startup(facts)
        self._update(started=True)
        async with asyncio.TaskGroup() as group:
            if probe := self._container.get("readinessProbe"):
                group.create_task(self._readiness(facts, probe))
            if probe := self._container.get("livenessProbe"):
                group.create_task(self._liveness(facts, probe))

    async def _startup(self, facts: PodFacts) -> None:
        passed = asyncio.Event()

        async def report(good: bool, wrong: str) -> None:
            if good:
                passed.set()
            else:
                self._unhealthy(facts, "Startup", wrong)
                self._kill_softly(facts)

        probe = self._container["startupProbe"]
        probing = self._watch(
            run_probe(probe, self._target(facts), self._node.clock, report), "startup probe"
        )
        await passed.wait()
        probing.cancel()

    async def _readiness(self, facts: PodFacts, probe: Obj) -> None:
        async def report(good: bool, wrong: str) -> None:
            if not good:
                self._unhealthy(facts, "Readiness", wrong)
            self._update(ready=good)

        await run_probe(probe, self._target(facts), self._node.clock, report)

    async def _liveness(self, facts: PodFacts, probe: Obj) -> None:
        async def report(good: bool, wrong: str) -> None:
            if not good:
                self._unhealthy(facts, "Liveness", wrong)
                self._kill_softly(facts)

        await run_probe(probe, self._target(facts), self._node.clock, report)

    def _unhealthy(self, facts: PodFacts, kind: str, wrong: str) -> None:
        self._node.events.warning(facts.pod, "Unhealthy", f"{kind} probe failed: {wrong}")

    # Stopping.

    def stop(self, facts: PodFacts, grace: float) -> None:
        """Begins to stop the container: hook, SIGTERM, and SIGKILL when the grace is over."""
        if self._running is not None and self._stopping is None:
            self._node.events.normal(facts.pod, "Killing", f"Stopping container {self.name}")
            self._stopping = self._spawn(self._stop(facts, self._running, grace), "stop")

    def kill(self) -> None:
        """Ends the container now."""
        if self._running is not None:
            self._running.kill()

    async def _stop(self, facts: PodFacts, running: RunningContainer, grace: float) -> None:
        try:
            async with asyncio.timeout(grace):
                if wrong := await self._run_hook("preStop", grace, facts):
                    self._node.events.warning(facts.pod, "FailedPreStopHook", wrong)
                running.signal(signal.SIGTERM)
                await running.wait()
        except TimeoutError:
            running.kill()
        finally:
            self._stopping = None

    def _kill_softly(self, facts: PodFacts) -> None:
        seconds = (facts.pod.get("spec") or {}).get("terminationGracePeriodSeconds")
        self.stop(facts, float(30 if seconds is None else seconds))

    async def close(self) -> None:
        """Stops watching; the container itself lives on."""
        tasks = [*self._following, *(t for t in (self._starting, self._stopping) if t)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._running is not None:
            self._running.release()

    # Commands inside.

    async def execute(self, facts: PodFacts, command: list[str]) -> int:
        """Runs a command in the container, without input or output; returns its exit code."""
        if self._running is None:
            return 1
        await self._running.wait_begun()
        plan = exec_plan(self._running, self._container, facts.pod, self._node, command)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            execution = await self._node.runtime.launcher.execute(plan, (null, null, null))
        finally:
            os.close(null)
        try:
            return await execution.wait()
        except LaunchError:
            return 127
        finally:
            execution.close()

    def _target(self, facts: PodFacts) -> ProbeTarget:
        ports = {
            port["name"]: int(port["containerPort"])
            for port in self._container.get("ports") or ()
            if port.get("name")
        }
        return ProbeTarget(
            facts.pod_ip or facts.host_ip, ports, lambda command: self.execute(facts, command)
        )

    async def _run_hook(self, kind: str, seconds: float, facts: PodFacts) -> str:
        """Runs a lifecycle hook, if there is one; returns what went wrong."""
        hook = self._hook(kind)
        if not hook:
            return ""
        if pause := hook.get("sleep"):
            await self._node.clock.sleep(float(pause.get("seconds") or 0))
            return ""
        return await check({**hook, "timeoutSeconds": seconds}, self._target(facts))

    # Small things.

    def _hook(self, kind: str) -> Obj:
        hooks: Obj = self._container.get("lifecycle") or {}
        return hooks.get(kind) or {}

    def _update(self, **changes: bool) -> None:
        if isinstance(self.state.current, Running):
            self._set(replace(self.state.current, **changes))

    def _set(self, current: Waiting | Running | Ended) -> None:
        if current != self.state.current:
            self.state = replace(self.state, current=current)
            self._wake()

    def _paths(self, attempt: int) -> ContainerPaths:
        return self._pod_paths.container(self.name, attempt)

    def _group(self, facts: PodFacts, attempt: int) -> str:
        return f"{uid(facts.pod)}.{self.name}.{attempt}"

    def _find(self, attempt: int) -> RunningContainer | Exit | None:
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


def exec_plan(
    running: RunningContainer,
    container: Obj,
    pod: Obj,
    node: NodeServices,
    command: list[str],
    *,
    tty: bool = False,
) -> ExecPlan:
    """How to run a command as the container's own would."""
    launched = msgspec.json.decode(running.paths.launch.read_bytes(), type=LaunchPlan)
    namespaces = launched["namespaces"] | (0x40000000 if launched["network"] else 0)
    return ExecPlan(
        target=running.pid,
        namespaces=namespaces,
        argv=command,
        env={**launched["env"], "TERM": "xterm"} if tty else launched["env"],
        cwd=launched["cwd"],
        credentials=credentials(pod, container, node.walls),
        tty=tty,
        join=launched["limits"]["join"],
    )


def _drop_files(paths: ContainerPaths) -> None:
    """What the container changed in its private root goes with it; log and records stay."""
    remove_tree(paths.files)
    remove_tree(paths.tmp)
