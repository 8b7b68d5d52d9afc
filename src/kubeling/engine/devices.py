"""Devices: whole things that one pod has at a time, such as GPUs (extended resources).

GPUs of NVIDIA are found by their device files and known by the driver's UUIDs; others, and ones
that are not there, are declared (``kubeling up --extended-resources example.com/fpga=2``) and are
then only counted. Each container gets devices of its own: their files, and the variables by which
CUDA chooses them. What a pod holds is in its record, so a restarted agent hands out nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.engine.podspec import init_containers, is_sidecar, main_containers, pod_requests
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = [
    "GPU",
    "Device",
    "Devices",
    "Grant",
    "NoDevice",
    "device_env",
    "device_files",
    "devices_of",
    "find_gpus",
]

GPU: Final = "nvidia.com/gpu"
Grant = Mapping[str, Mapping[str, Sequence[str]]]
"""The ids of devices by container and resource."""

_NODE: Final = re.compile(r"nvidia(\d+)")
_SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    GPU: ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps"),
    "amd.com/gpu": ("kfd", "dri"),
}
"""The files that all containers with such a device share."""


@dataclass(frozen=True, slots=True)
class Device:
    """``id`` is what programs call it, ``file`` its name below ``/dev``, if it has one."""

    id: str
    file: str = ""


class NoDevice(Exception):
    """There are fewer devices free than the node's account says."""


class Devices:
    """Who has which device."""

    def __init__(self, devices: Mapping[str, Sequence[Device]]) -> None:
        self.all = devices
        self._held: dict[str, Grant] = {}

    def allocate(self, pod_uid: str, pod: Obj) -> dict[str, dict[str, list[str]]]:
        """Devices for each of a pod's containers; raises :class:`NoDevice`."""
        grant: dict[str, dict[str, list[str]]] = {}
        for resource, amount in pod_requests(pod).items():
            if resource in self.all and amount:
                free = self._free(resource)[: int(amount)]
                if len(free) < amount:
                    text = f"requested number of devices unavailable for {resource}. "
                    raise NoDevice(f"{text}Requested: {int(amount)}, Available: {len(free)}")
                for container, ids in _shares(pod, resource, free):
                    grant.setdefault(container, {})[resource] = ids
        self.hold(pod_uid, grant)
        return grant

    def hold(self, pod_uid: str, grant: Grant) -> None:
        """What a pod has: granted now, or found in its record."""
        if grant:
            self._held[pod_uid] = grant

    def release(self, pod_uid: str) -> None:
        """The pod is over."""
        self._held.pop(pod_uid, None)

    def file(self, resource: str, device: str) -> str:
        """The device's file, if it has one."""
        return next((d.file for d in self.all.get(resource, ()) if d.id == device), "")

    def _free(self, resource: str) -> list[str]:
        taken = {
            device
            for grant in self._held.values()
            for resources in grant.values()
            for device in resources.get(resource, ())
        }
        return [device.id for device in self.all[resource] if device.id not in taken]


def devices_of(capacity: Mapping[str, Quantity], gpus: Sequence[Device]) -> Devices:
    """The devices of a node that says it has so many; what is not there is only counted."""
    found: dict[str, list[Device]] = {}
    for resource, amount in capacity.items():
        domain, slash, _ = resource.partition("/")
        if not slash or domain.endswith("kubernetes.io"):
            continue
        real = list(gpus[: int(amount)]) if resource == GPU else []
        found[resource] = real + [Device(str(n)) for n in range(len(real), int(amount))]
    return Devices(found)


def find_gpus(dev: Path = Path("/dev"), driver: Path = Path("/proc/driver/nvidia")) -> list[Device]:
    """The machine's GPUs, in the order of their numbers."""
    uuids = dict(_uuids(driver / "gpus"))
    numbers = sorted(
        int(match[1]) for entry in dev.iterdir() if (match := _NODE.fullmatch(entry.name))
    )
    return [Device(uuids.get(number, str(number)), f"nvidia{number}") for number in numbers]


def device_files(devices: Devices, granted: Mapping[str, Sequence[str]]) -> list[str]:
    """The files below ``/dev`` that belong to what a container was granted."""
    own = [devices.file(resource, device) for resource, ids in granted.items() for device in ids]
    shared = [name for resource in granted for name in _SHARED.get(resource, ())]
    return [file for file in (*own, *shared) if file]


def device_env(
    devices: Devices, granted: Mapping[str, Sequence[str]], *, alone: bool
) -> dict[str, str]:
    """The variables that name a container's GPUs.

    ``alone`` says that it sees the files of no others: without the driver's UUIDs CUDA then counts
    from 0. Where it sees them all, one without any is told to use none.
    """
    ids = list(granted.get(GPU, ()))
    if not ids:
        hides = not alone and any(d.file for d in devices.all.get(GPU, ()))
        return {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"} if hides else {}
    numbered = all(device.isdecimal() and devices.file(GPU, device) for device in ids)
    chosen = [str(n) for n in range(len(ids))] if numbered and alone else ids
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(chosen),
        "NVIDIA_VISIBLE_DEVICES": ",".join(ids),
    }


def _uuids(folder: Path) -> Iterator[tuple[int, str]]:
    if not folder.is_dir():
        return
    for card in folder.iterdir():
        lines = (card / "information").read_text().splitlines()
        pairs = (line.partition(":") for line in lines)
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        number, uuid = fields.get("Device Minor", ""), fields.get("GPU UUID", "")
        if number.isdecimal() and uuid.startswith("GPU-") and "?" not in uuid:
            yield int(number), uuid


def _shares(pod: Obj, resource: str, ids: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each container's part: those of sidecars stay theirs, init containers' are used again."""
    begin = 0
    for container in init_containers(pod):
        amount = _wanted(container, resource)
        if amount:
            yield container["name"], list(ids[begin : begin + amount])
        begin += amount if is_sidecar(container) else 0
    for container in main_containers(pod):
        if amount := _wanted(container, resource):
            yield container["name"], list(ids[begin : begin + amount])
            begin += amount


def _wanted(container: Obj, resource: str) -> int:
    resources = container.get("resources") or {}
    stated = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return int(parse_quantity(stated.get(resource) or 0))
