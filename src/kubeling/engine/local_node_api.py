"""The engine's :class:`~kubeling.engine.node_api.NodeApi`, in process."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal

from kubeling.engine.agent import NodeAgent
from kubeling.engine.attachment import Attachment
from kubeling.engine.execution import PipedExecution, TerminalExecution
from kubeling.engine.instance import ContainerInstance
from kubeling.engine.logs import LogOptions, read_log
from kubeling.engine.node_api import (
    ContainerUsage,
    ExecSession,
    LogStream,
    NodeUsage,
    PodUsage,
    PortConnection,
)
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.podspec import all_containers, main_containers
from kubeling.engine.portforward import connect
from kubeling.engine.runtime import Container
from kubeling.engine.services import NodeServices
from kubeling.engine.usage import CpuRates, ProcessUse, machine_use, use_of_tree
from kubeling.engine.worker import PodWorker
from kubeling.kube.errors import BadRequest, NotFound, ServiceUnavailable
from kubeling.kube.objects import Obj, annotations, name, uid
from kubeling.kube.objects import namespace as namespace_of
from kubeling.kube.resources import PODS

__all__ = ["LocalNodeApi"]

_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_LOG_STREAMS: Final[Mapping[LogStream, Literal["", "stdout", "stderr"]]] = {
    "All": "",
    "Stdout": "stdout",
    "Stderr": "stderr",
}
_LOG_ALIAS: Final = "kubeling.io/log-container-alias"
"""``name=container``: upstream's sidecar that SDKs ask for, where we need none to collect a log."""


class LocalNodeApi:
    """Answers for the pods of this process's engine."""

    def __init__(self) -> None:
        self._services: NodeServices | None = None
        self._agent: NodeAgent | None = None
        self._rates = CpuRates()

    def serve(self, services: NodeServices, agent: NodeAgent) -> None:
        """From now on there is an engine to ask."""
        self._services, self._agent = services, agent
        # So that the first question about the node has a beginning to compare with.
        self._node_rate(services.utc())

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since: dt.datetime | None = None,
        timestamps: bool = False,
        limit_bytes: int | None = None,
        stream: LogStream = "All",
    ) -> AsyncIterator[bytes]:
        found = self._pod(namespace, pod)
        chosen = _choose(found, container)
        paths = self._log_of(found, chosen, previous=previous)
        options = LogOptions(
            follow, tail_lines, since, timestamps, limit_bytes, _LOG_STREAMS[stream]
        )
        async for piece in read_log(paths, self._node.changes, options):
            yield piece

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        tty: bool = False,
    ) -> ExecSession:
        found = self._pod(namespace, pod)
        _, running = await self._running(found, container)
        plan = running.exec_plan(command, tty=tty)
        launcher = self._node.supervisors.launcher
        if tty:
            return await TerminalExecution.start(launcher, plan, running)
        return await PipedExecution.start(launcher, plan, running, stdin=stdin)

    async def attach(
        self, namespace: str, pod: str, container: str, *, stdin: bool = False
    ) -> ExecSession:
        spec, running = await self._running(self._pod(namespace, pod), container)
        return Attachment(running, spec, self._node.changes, stdin=stdin)

    async def port_forward(self, namespace: str, pod: str, port: int) -> PortConnection:
        worker = self._worker(self._pod(namespace, pod))
        # One that has ended has given its network back: there would be the machine's own only.
        if worker is None or not any(i.running for i in worker.instances.values()):
            raise BadRequest(f"unable to forward port because pod {pod} is not running")
        return await connect(port, pod, self._node.networks, worker.network)

    async def pod_usage(self, namespace: str = "") -> list[PodUsage]:
        if self._agent is None:
            return []
        workers = [w for w in self._agent.workers if namespace in ("", namespace_of(w.pod))]
        uses = [await asyncio.to_thread(self._use_of, worker) for worker in workers]
        return [use for use in uses if use.containers]

    async def node_usage(self) -> NodeUsage:
        now = self._node.utc()
        cpu, window, use = self._node_rate(now)
        return NodeUsage(self._node.config.node_name, now, window, cpu, use.memory)

    @property
    def _node(self) -> NodeServices:
        if self._services is None:
            raise ServiceUnavailable("the engine is not running yet; try again")
        return self._services

    def _pod(self, namespace: str, pod: str) -> Obj:
        found = self._node.informers.of(PODS).get(namespace, pod)
        if found is None:
            raise NotFound.of("", "pods", pod)
        return found

    async def _running(self, pod: Obj, container: str) -> tuple[Obj, Container]:
        """A container by its name, or the default one, and its running attempt."""
        chosen = _choose(pod, container)
        worker = self._worker(pod)
        running = worker.instances[chosen].running if worker else None
        if running is None:
            raise BadRequest(f"container {chosen} of pod {name(pod)} is not running")
        await running.wait_begun()
        return next(c for c in all_containers(pod) if c["name"] == chosen), running

    def _worker(self, pod: Obj) -> PodWorker | None:
        assert self._agent is not None
        return self._agent.worker(uid(pod))

    def _log_of(self, pod: Obj, container: str, *, previous: bool) -> ContainerPaths:
        paths = self._node.config.paths.pod(uid(pod))
        attempts = paths.attempts(container)
        # One that is about to start has no log yet; until then the last one's is the container's.
        older = attempts[:-1] if previous else attempts
        wanted = [one for one in older if paths.container(container, one).log.exists()]
        if not wanted:
            if previous:
                text = f'previous terminated container "{container}" in pod "{name(pod)}" not found'
                raise BadRequest(text)
            waiting = f'container "{container}" in pod "{name(pod)}" is waiting to start'
            raise BadRequest(f"{waiting}: {_reason(pod, container)}")
        return paths.container(container, wanted[-1])

    def _use_of(self, worker: PodWorker) -> PodUsage:
        now = self._node.utc()
        window = 0.0
        containers = []
        for instance in worker.instances.values():
            if (running := instance.running) is not None:
                use, window = self._container_use(instance, running, now)
                containers.append(use)
        pod = worker.pod
        return PodUsage(namespace_of(pod), name(pod), now, window, tuple(containers))

    def _container_use(
        self, instance: ContainerInstance, running: Container, now: dt.datetime
    ) -> tuple[ContainerUsage, float]:
        use = use_of_tree(running.pid)
        cpu, window = self._rates.of(running.pid, use, now.timestamp())
        return ContainerUsage(instance.name, cpu, use.memory), window

    def _node_rate(self, now: dt.datetime) -> tuple[float, float, ProcessUse]:
        use = machine_use()
        cpu, window = self._rates.of(0, use, now.timestamp())
        return cpu, window, use


def _choose(pod: Obj, container: str) -> str:
    names = [c["name"] for c in all_containers(pod)]
    if container:
        if container not in names:
            alias, _, target = annotations(pod).get(_LOG_ALIAS, "").partition("=")
            if alias == container and target in names:
                return target
            raise BadRequest(
                f"container {container} is not valid for pod {name(pod)}, choose one of: "
                f"[{' '.join(names)}]"
            )
        return container
    mains = [c["name"] for c in main_containers(pod)]
    default = annotations(pod).get(_DEFAULT_CONTAINER)
    if default is not None and default in names:
        return default
    if len(mains) == 1:
        return str(mains[0])
    listed = f"[{' '.join(mains)}]"
    raise BadRequest(
        f"a container name must be specified for pod {name(pod)}, choose one of: {listed}"
    )


def _reason(pod: Obj, container: str) -> str:
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(field) or ():
            if entry["name"] == container:
                return str(entry["state"].get("waiting", {}).get("reason", "ContainerCreating"))
    return "ContainerCreating"
