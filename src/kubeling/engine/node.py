"""The Node object: what this machine offers, that it is ready, and its heartbeat."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from kubeling import __version__
from kubeling.engine.config import EngineConfig
from kubeling.engine.devices import GPU
from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import Obj, format_time, new_object
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity
from kubeling.kube.resources import LEASES, NAMESPACES, NODES
from kubeling.kube.version import KUBERNETES_VERSION

__all__ = ["capacity_of_machine", "keep_alive", "node_object", "publish_node"]

_LEASE_NAMESPACE: Final = "kube-node-lease"
_CONDITIONS: Final = tuple(
    {"type": type_, "status": status, "reason": reason, "message": message}
    for type_, status, reason, message in (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "node has sufficient memory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "node has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "node has sufficient process ids"),
        ("Ready", "True", "KubeletReady", "the engine is ready to run pods"),
    )
)
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def capacity_of_machine(config: EngineConfig, gpus: int = 0) -> dict[str, Quantity]:
    """CPUs, memory, disk, pods and GPUs, with what the configuration adds or replaces."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {
        "cpu": Decimal(os.cpu_count() or 1),
        "memory": Decimal(pages),
        "ephemeral-storage": Decimal(shutil.disk_usage(config.data_dir).total),
        "pods": Decimal(config.max_pods),
    }
    if gpus:
        found[GPU] = Decimal(gpus)
    return found | {name: parse_quantity(value) for name, value in config.capacity.items()}


def node_object(
    config: EngineConfig,
    address: str,
    capacity: Mapping[str, Quantity],
    now: dt.datetime,
    *,
    own_networks: bool,
) -> Obj:
    """The Node as it is when the engine runs; it tells whether pods have ports of their own."""
    amounts = {name: _amount(name, value) for name, value in capacity.items()}
    stamp = format_time(now)
    arch = _ARCHITECTURES.get(platform.machine(), platform.machine())
    system = platform.system().lower()
    labels = {
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": system,
        "kubernetes.io/arch": arch,
        # Old, but kubelets still set them and manifests select by them.
        "beta.kubernetes.io/os": system,
        "beta.kubernetes.io/arch": arch,
        "node-role.kubernetes.io/control-plane": "",
        "kubeling.io/pod-network": "own" if own_networks else "shared",
    }
    conditions = [
        {**condition, "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        for condition in _CONDITIONS
    ]
    status: Obj = {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": config.node_name},
        ],
        "nodeInfo": {
            "machineID": _first_line(Path("/etc/machine-id")),
            "systemUUID": "",
            "bootID": _first_line(Path("/proc/sys/kernel/random/boot_id")),
            "kernelVersion": platform.release(),
            "osImage": _os_name(),
            "containerRuntimeVersion": f"kubeling://{__version__}",
            "kubeletVersion": f"{KUBERNETES_VERSION}+kubeling.{__version__}",
            "kubeProxyVersion": "",
            "operatingSystem": system,
            "architecture": arch,
        },
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    }
    return new_object(NODES, config.node_name, labels=labels, spec={}, status=status)


async def publish_node(client: Client, node: Obj) -> Obj:
    """Creates the Node or brings its status up to date; labels users added stay."""
    node_name = node["metadata"]["name"]
    try:
        await client.create(NODES, node)
    except AlreadyExists:
        await client.patch(NODES, node_name, {"metadata": {"labels": node["metadata"]["labels"]}})
    return await client.patch_status(NODES, node_name, node["status"])


async def keep_alive(client: Client, node: Obj, clock: Clock, period: float) -> None:
    """Renews the node's lease until cancelled."""
    name = node["metadata"]["name"]
    while True:
        renewed = {"spec": _lease_spec(name, clock.now(), period)}
        try:
            await client.patch(LEASES, name, renewed, _LEASE_NAMESPACE)
        except NotFound:
            await _create_lease(client, node, renewed["spec"])
        await clock.sleep(period)


async def _create_lease(client: Client, node: Obj, spec: Obj) -> None:
    lease = new_object(LEASES, node["metadata"]["name"], _LEASE_NAMESPACE, owner=node, spec=spec)
    try:
        await client.create(LEASES, lease)
    except NotFound:
        await client.create(NAMESPACES, new_object(NAMESPACES, _LEASE_NAMESPACE))
        await client.create(LEASES, lease)


def _lease_spec(holder: str, now: dt.datetime, period: float) -> Obj:
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": round(4 * period),
        "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def _amount(name: str, value: Quantity) -> str:
    if name in ("memory", "ephemeral-storage"):
        return format_quantity(Decimal(int(value) // 1024 * 1024), binary=True)
    return format_quantity(value)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
