"""The embedded engine as one object: what ``kubeling up`` starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.agent import NodeAgent
from kubeling.engine.atomic import write_file
from kubeling.engine.cgroups import NO_CGROUPS, Cgroups, find_cgroups
from kubeling.engine.changes import FileChanges
from kubeling.engine.config import EngineConfig
from kubeling.engine.containers import Supervisors
from kubeling.engine.devices import devices_of, find_gpus
from kubeling.engine.environments import Environments
from kubeling.engine.envstore import keep_tidy
from kubeling.engine.images import Catalogue
from kubeling.engine.launcher import Launcher
from kubeling.engine.layers import Layers
from kubeling.engine.local_node_api import LocalNodeApi
from kubeling.engine.memoryvolumes import detach_all, shared_memory
from kubeling.engine.net.pool import NetworkPool
from kubeling.engine.net.subnet import PodSubnet, choose_subnet
from kubeling.engine.netpolicy.enforcer import PolicyEnforcer
from kubeling.engine.netpolicy.report import Report
from kubeling.engine.node import capacity_of_machine, keep_alive, node_object, publish_node
from kubeling.engine.node_api import NodeApi
from kubeling.engine.oci.discovery import EngineFinder
from kubeling.engine.oci.images import Images
from kubeling.engine.oci.runtime import EngineRuntime
from kubeling.engine.paths import EnginePaths, PodPaths
from kubeling.engine.processes import ProcessRuntime
from kubeling.engine.reserve import keep_ready
from kubeling.engine.rootfs import HostView, machine_disks
from kubeling.engine.runtime import PodRuntime, Runtimes
from kubeling.engine.scheduler import DEFAULT_SCHEDULER
from kubeling.engine.security import has_root
from kubeling.engine.services import NodeServices, PodEvents, passed_env
from kubeling.engine.templates import Templates
from kubeling.engine.trees import remove_forest
from kubeling.engine.walls import NO_WALLS, Walls, find_walls
from kubeling.engine.worker import read_record
from kubeling.kube.client import Client
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.events import EventRecorder
from kubeling.kube.informer import Informers

__all__ = ["Engine", "end_all_pods", "open_engine", "prepare_engine", "remove_engine_state"]

log = logging.getLogger(__name__)

_ENDED_TOGETHER: Final = 50


class _NodeFile(msgspec.Struct):
    subnet: str = ""


class Engine:
    """A node, prepared but not yet running; made by :func:`prepare_engine`.

    ``host_ip`` is where pods reach this machine: the API server should listen there too when it
    differs from loopback. Call :meth:`run` once the API answers.
    """

    def __init__(
        self,
        config: EngineConfig,
        supervisors: Supervisors,
        walls: Walls,
        cgroups: Cgroups,
        networks: NetworkPool | None,
        clock: Clock,
        node_api: LocalNodeApi,
    ) -> None:
        self.config = config
        self._local_node_api = node_api
        self.walls = walls
        self.cgroups = cgroups
        self.host_ip = networks.subnet.gateway if networks else "127.0.0.1"
        self.ready = asyncio.Event()
        self._supervisors = supervisors
        self.templates = _templates(config, supervisors.launcher, walls, clock)
        self._runtime = _runtime(config, supervisors, walls, cgroups, self.templates)
        self.networks = networks
        self.policies = PolicyEnforcer(networks, config.dns_server, config.service_cidr)
        self._clock = clock
        in_memory = has_root(walls) and walls.files
        self._memory = shared_memory(config.paths.memory) if in_memory else None
        self._changes = FileChanges()
        self._environments = Environments(config.paths.environments, config.workspace.resolve())
        self._engine_images = Images()

    @property
    def launcher(self) -> Launcher:
        return self._supervisors.launcher

    @property
    def node_api(self) -> NodeApi:
        """For the API server; answers once the engine runs."""
        return self._local_node_api

    async def run(self, client: Client, informers: Informers) -> None:
        """Runs pods until cancelled; their processes live on."""
        gpus = find_gpus() if sys.platform == "linux" else []
        capacity = capacity_of_machine(self.config, len(gpus))
        own = self.networks is not None
        now = self._clock.now()
        node = node_object(self.config, self.host_ip, capacity, now, own_networks=own)
        events = PodEvents(EventRecorder(client, "kubelet", self._clock), self._clock)
        scheduler = EventRecorder(client, DEFAULT_SCHEDULER, self._clock)
        scheduler_events = PodEvents(scheduler, self._clock)
        services = NodeServices(
            config=self.config,
            client=client,
            informers=informers,
            clock=self._clock,
            runtime=self._runtime,
            supervisors=self._supervisors,
            walls=self.walls,
            networks=self.networks,
            policies=self.policies,
            catalogue=Catalogue(self.config.images_file, self.config.images),
            environments=self._environments,
            container_engine=EngineFinder(self.config.container_engine),
            engine_images=self._engine_images,
            events=events,
            scheduler_events=scheduler_events,
            changes=self._changes,
            host_ip=self.host_ip,
            allocatable=capacity,
            devices=devices_of(capacity, gpus),
            memory=self._memory,
            passed_env=passed_env(self.config.pass_env),
        )
        node = await publish_node(client, node)
        agent = NodeAgent(services, node)
        self._local_node_api.serve(services, agent)
        async with asyncio.TaskGroup() as group:
            group.create_task(events.run(), name="pod events")
            report = Report(client, events, self._why_no_policies())
            group.create_task(self.policies.run(informers, report), name="network policies")
            group.create_task(scheduler_events.run(), name="scheduler events")
            group.create_task(
                keep_alive(client, node, self._clock, self.config.heartbeat_seconds),
                name="node heartbeat",
            )
            group.create_task(agent.run(), name="node agent")
            group.create_task(
                keep_tidy(self.config, self._environments, self._clock), name="environments"
            )
            group.create_task(self._environments.make_ready(self._clock), name="seed")
            if self.templates is not None:
                group.create_task(keep_ready(services, self.templates), name="templates")
            self.ready.set()

    def _why_no_policies(self) -> str:
        """Why pods have no networks of their own, to hold them to network policies."""
        if self.networks is not None:
            return ""
        if not (self.config.isolation and self.config.pod_networks):
            return "pods are set to share the machine's network"
        return "pods share the machine's network; they have their own on Linux, as root"

    async def close(self) -> None:
        """Lets go of everything; pods live on and the next engine finds them."""
        await self._environments.stop()
        await self._engine_images.stop()
        if self.templates is not None:
            await self.templates.close()
        self._supervisors.close()
        await self.launcher.stop()
        self._changes.close()
        if self.networks is not None:
            await self.networks.stop(remove=False)

    async def end_pods(self) -> None:
        """Kills all pods' processes and removes their networks; for ``kubeling down``."""
        await end_all_pods(self.config, self._runtime)
        self._supervisors.close()
        if self.config.paths.layers.exists():
            await asyncio.to_thread(remove_forest, self.config.paths.layers)
        self.cgroups.close()
        if self.networks is not None:
            await self.networks.stop(remove=True)
            self.networks = None


@contextlib.asynccontextmanager
async def open_engine(config: EngineConfig, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """A prepared engine that is closed at the end of the block."""
    engine = await prepare_engine(config, clock)
    try:
        yield engine
    finally:
        await engine.close()


async def prepare_engine(
    config: EngineConfig, clock: Clock | None = None, node_api: LocalNodeApi | None = None
) -> Engine:
    """Finds out what this machine offers and makes ready what pods share.

    It waits for the kernel most of its time and needs no API, so it can run beside the API server's
    start, which is given the same ``node_api``.
    """
    paths = config.paths
    _make_folders(paths)
    launcher = Launcher()
    launcher.start()
    if paths.templates.exists():  # of a platform that was killed
        await asyncio.to_thread(remove_forest, paths.templates)
    supervisors = Supervisors(launcher)
    walls = await find_walls(supervisors, paths.root) if config.isolation else NO_WALLS
    if walls.files:
        supervisors.layers = Layers(launcher, paths.layers)
    networks = await _networks(config, walls)
    return Engine(
        config,
        supervisors,
        walls,
        _cgroups(config),
        networks,
        clock or SystemClock(),
        node_api or LocalNodeApi(),
    )


async def end_all_pods(config: EngineConfig, runtime: PodRuntime | None = None) -> None:
    """Kills whatever runs for a data directory; works without a platform running."""
    paths = config.paths
    runtime = runtime or _runtime(config, Supervisors(Launcher()), NO_WALLS, NO_CGROUPS)
    # One after the other, a hundred pods would take as long as each of them a hundred times.
    together = asyncio.Semaphore(_ENDED_TOGETHER)

    async def end(folder: PodPaths) -> None:
        async with together:
            for attempt in folder.all_attempts():
                await runtime.end(attempt)
            detach_all(folder.volumes)

    await asyncio.gather(*(end(paths.pod(pod.name)) for pod in _entries(paths.pods)))
    detach_all(paths.memory)


async def remove_engine_state(config: EngineConfig) -> None:
    """Ends all pods and removes all the engine keeps, in the kernel and on disk."""
    paths = config.paths
    await end_all_pods(config)
    _cgroups(config).close()
    if (subnet := _known_subnet(config)) is not None:
        pool = NetworkPool(paths.networks, subnet)
        await pool.stop(remove=True)
    if paths.root.exists():
        await asyncio.to_thread(remove_forest, paths.root)


def _templates(
    config: EngineConfig, launcher: Launcher, walls: Walls, clock: Clock
) -> Templates | None:
    if not (config.warm_python and has_root(walls) and walls.files and walls.processes):
        return None
    view = _host_view(config)
    seconds = config.warm_python_idle_seconds
    return Templates(launcher, config.paths.templates, walls, view, seconds, clock.monotonic)


def _runtime(
    config: EngineConfig,
    supervisors: Supervisors,
    walls: Walls,
    cgroups: Cgroups,
    templates: Templates | None = None,
) -> PodRuntime:
    processes = ProcessRuntime(supervisors, walls, cgroups, _host_view(config), templates)
    return Runtimes(processes, EngineRuntime(supervisors))


def _cgroups(config: EngineConfig) -> Cgroups:
    return find_cgroups(str(config.data_dir.resolve())) if config.isolation else NO_CGROUPS


async def _networks(config: EngineConfig, walls: Walls) -> NetworkPool | None:
    possible = sys.platform == "linux" and os.geteuid() == 0 and walls.processes
    if not (possible and config.isolation and config.pod_networks):
        return None
    try:
        pool = NetworkPool(config.paths.networks, _choose(config))
        await pool.start(_octets_in_use(config.paths))
    except (OSError, ValueError) as error:
        log.warning("pods share the machine's network: %s", error)
        return None
    return pool


def _choose(config: EngineConfig) -> PodSubnet:
    from kubeling.engine.net.netlink import Route

    known = _known_subnet(config)
    if known is not None and known.network.subnet_of(ipaddress.IPv4Network(config.pod_cidr)):
        return known
    chosen = choose_subnet(config.data_dir, config.pod_cidr, Route().destinations())
    body = msgspec.json.encode(_NodeFile(str(chosen.network)))
    write_file(config.paths.node_file, body)
    return chosen


def _known_subnet(config: EngineConfig) -> PodSubnet | None:
    try:
        saved = msgspec.json.decode(config.paths.node_file.read_bytes(), type=_NodeFile)
    except FileNotFoundError:
        return None
    return choose_subnet(config.data_dir, config.pod_cidr, (), saved.subnet)


def _octets_in_use(paths: EnginePaths) -> list[int]:
    records = (read_record(paths.pod(entry.name)) for entry in _entries(paths.pods))
    return [record.octet for record in records if record is not None and record.octet]


def _host_view(config: EngineConfig) -> HostView:
    workspace = config.workspace.resolve()
    hidden = (config.data_dir.resolve(),)
    view = HostView(workspace=workspace, hidden=hidden)
    if sys.platform != "linux":
        return view
    disks = machine_disks(Path("/proc/self/mountinfo").read_text(), hidden)
    return replace(view, disks=disks)


def _make_folders(paths: EnginePaths) -> None:
    for folder in (paths.root, paths.pods, paths.environments, paths.claims):
        folder.mkdir(parents=True, exist_ok=True)
    paths.root.chmod(0o711)


def _entries(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else ()
