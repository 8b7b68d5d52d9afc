"""Addresses and node ports of Services: given out once, kept in the Service, returned with it.

The objects are the record: what is taken is read from them as they are written, so nothing else
has to survive a restart. What was promised to a Service that is not written yet is nobody else's
for the time a write may take.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.servicefields import WITH_NODE_PORTS, port_key
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import FieldError, InternalError, Invalid
from kubeling.kube.objects import Obj

__all__ = ["ServiceAddresses"]

_NODE_PORTS: Final = range(30000, 32768)
_WRITE_SECONDS: Final = 60.0
"""Longer than any write takes, webhooks included."""


class ServiceAddresses:
    """Gives out what Services ask the server for."""

    storages: Final = ("/services",)

    def __init__(self, store: Store, cidr: str) -> None:
        self._network = ipaddress.ip_network(cidr)
        self._taken: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        self._next_address = 10
        self._next_port = 0
        self._promised: dict[StoreKey, tuple[float, Obj]] = {}
        store.subscribe("/services", self._follow)

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """Completes a Service before it is stored."""
        if options.subresource:
            return
        metadata = new["metadata"]
        key = served.key(metadata.get("namespace", ""), metadata["name"])
        self._expire()
        self._take_back(key)
        spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
        if spec.get("type") == "ExternalName":
            return
        self._address(new, spec, before)
        if spec.get("type") in WITH_NODE_PORTS:
            self._node_ports(new, spec, before)
        if not options.dry_run:
            self._promised[key] = (time.monotonic() + _WRITE_SECONDS, new)
            self._count(new, 1)

    def _address(self, service: Obj, spec: Obj, before: Obj) -> None:
        wanted = spec.get("clusterIP")
        if not wanted:
            wanted = before.get("clusterIP") or self._free_address()
        elif wanted != "None" and wanted != before.get("clusterIP"):
            self._check_address(service, wanted)
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = [wanted]

    def _check_address(self, service: Obj, wanted: str) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            inside = False
        message = ""
        if not inside:
            message = f"failed to allocate IP {wanted}: not in the range {self._network}"
        elif self._taken[wanted]:
            message = f"failed to allocate IP {wanted}: provided IP is already allocated"
        if message:
            error = FieldError("spec.clusterIPs", "Invalid value", message, [wanted])
            raise Invalid.of("", "Service", service["metadata"]["name"], [error])

    def _free_address(self) -> str:
        size = self._network.num_addresses
        for _ in range(size):
            candidate = str(self._network[self._next_address % size])
            self._next_address = max((self._next_address + 1) % (size - 1), 10)
            if not self._taken[candidate]:
                return candidate
        raise InternalError(f"no address is left in {self._network}: delete unused Services")

    def _node_ports(self, service: Obj, spec: Obj, before: Obj) -> None:
        known = {port_key(port): port["nodePort"] for port in _with_node_port(before)}
        errors = list(self._refused_ports(spec, set(known.values())))
        if errors:
            raise Invalid.of("", "Service", service["metadata"]["name"], errors)
        if spec.get("allocateLoadBalancerNodePorts") is False:
            return
        given: dict[int, int] = {}
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                # The same port over another protocol is the same port of the node.
                shared = given.get(port["port"])
                port["nodePort"] = known.get(port_key(port)) or shared or self._free_port()
            given[port["port"]] = port["nodePort"]

    def _refused_ports(self, spec: Obj, own: set[int]) -> Iterator[FieldError]:
        for index, port in enumerate(spec.get("ports") or ()):
            number, path = port.get("nodePort"), f"spec.ports[{index}].nodePort"
            if not number or number in own:
                continue
            message = ""
            if number not in _NODE_PORTS:
                message = (
                    "provided port is not in the valid range. The range of valid ports is "
                    f"{_NODE_PORTS[0]}-{_NODE_PORTS[-1]}"
                )
            elif self._ports[number]:
                message = "provided port is already allocated"
            if message:
                yield FieldError(path, "Invalid value", message, number)

    def _free_port(self) -> int:
        for _ in _NODE_PORTS:
            candidate = _NODE_PORTS[self._next_port % len(_NODE_PORTS)]
            self._next_port += 1
            if not self._ports[candidate]:
                return candidate
        raise InternalError("no node port is left: delete unused Services")

    def _expire(self) -> None:
        """Promises come in order; what was not written by now was refused by somebody else."""
        now = time.monotonic()
        for key, (until, _) in list(self._promised.items()):
            if until > now:
                return
            self._take_back(key)

    def _take_back(self, key: StoreKey) -> None:
        if (promise := self._promised.pop(key, None)) is not None:
            self._count(promise[1], -1)

    def _follow(self, event: Event) -> None:
        self._take_back(event.record.key)
        if event.previous is not None:
            self._count(event.previous.obj, -1)
        if event.type != "DELETED":
            self._count(event.record.obj, 1)

    def _count(self, service: Obj, by: int) -> None:
        spec = service.get("spec") or {}
        if address := spec.get("clusterIP"):
            self._taken[address] += by
        for port in _with_node_port(spec):
            self._ports[port["nodePort"]] += by


def _with_node_port(spec: Obj) -> Iterator[Obj]:
    return (port for port in spec.get("ports") or () if port.get("nodePort"))
