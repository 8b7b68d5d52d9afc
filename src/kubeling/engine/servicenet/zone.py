"""What names in the cluster's domain mean. Pure, as far as caches are.

The names are those of the Kubernetes DNS specification: ``service.namespace.svc.domain``; below a
headless service its pods by host name (or by their own, as training jobs use them);
``_port._protocol.service…`` for SRV; ``10-244-1-7.namespace.pod.domain``;
``dns-version.domain``. In the other direction ``7.1.244.10.in-addr.arpa`` names what has the
address, and is the world's to answer where nothing here has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubeling.kube.objects import Key, Obj, name, namespace

__all__ = ["Answer", "Service", "Zone"]

_SCHEMA_VERSION = "1.1.0"
_REVERSE = ".in-addr.arpa"


class Service(NamedTuple):
    """An SRV record: where a port is offered."""

    port: int
    target: str


@dataclass(slots=True)
class Answer:
    """What a name stands for; a name that exists may still have no records of a type."""

    addresses: list[str] = field(default_factory=list)
    alias: str = ""
    services: list[Service] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    text: str = ""
    extra: dict[str, str] = field(default_factory=dict)


class Zone:
    """The names of one cluster, answered from what it is told of Services and EndpointSlices."""

    def __init__(self, domain: str, server: str = "") -> None:
        self.domain = domain.strip(".").lower()
        self.server_name = f"ns.dns.{self.domain}"
        self._server = server
        self._services: dict[Key, Obj] = {}
        self._slices: dict[Key, Sequence[Obj]] = {}
        self._at: dict[str, set[Key]] = {}

    @property
    def services(self) -> list[Key]:
        """Those that it was told of."""
        return list(self._services)

    def put(self, key: Key, service: Obj | None, slices: Sequence[Obj]) -> None:
        """Replaces all that is known of a Service; ``None``: it is gone."""
        for address in self._addresses(key):
            self._at[address].discard(key)
            if not self._at[address]:
                del self._at[address]
        self._services.pop(key, None)
        self._slices.pop(key, None)
        if service is not None:
            self._services[key], self._slices[key] = service, slices
            for address in self._addresses(key):
                self._at.setdefault(address, set()).add(key)

    def may_come(self, query: str) -> bool:
        """Whether a name that means nothing may do so soon.

        It is a Service's in a namespace that has some, or an endpoint's of a known Service.
        """
        match query.removesuffix(f".{self.domain}").split("."):
            case [_, where, "svc"]:
                return any(key.namespace == where for key in self._services)
            case [_, service, where, "svc"]:
                return Key(where, service) in self._services
        return False

    def holds(self, query: str) -> bool:
        """Whether the name is the cluster's to answer."""
        return query == self.domain or query.endswith(f".{self.domain}")

    def lookup(self, query: str) -> Answer | None:
        """What the name (in lower case, without the last dot) means; ``None`` if nothing."""
        if query == self.domain:
            return Answer()
        if query == self.server_name:
            return Answer([self._server] if self._server else [])
        parts = query.removesuffix(f".{self.domain}").split(".")
        match parts:
            case ["svc"] | ["pod"] | [_, "svc"] | [_, "pod"]:
                return Answer()
            case ["dns-version"]:
                return Answer(text=_SCHEMA_VERSION)
            case [service, where, "svc"]:
                return self._service(service, where)
            case [port, protocol, service, where, "svc"] if port.startswith("_"):
                return self._port(port[1:], protocol.lstrip("_"), service, where)
            case [host, service, where, "svc"]:
                return self._host(host, service, where)
            case [address, _, "pod"]:
                return _pod(address)
        return None

    def reverse(self, query: str) -> Answer | None:
        """Who has the address that the name ``4.3.2.1.in-addr.arpa`` stands for."""
        parts = query.removesuffix(_REVERSE).split(".")
        if not query.endswith(_REVERSE) or len(parts) != 4:
            return None
        address = ".".join(reversed(parts))
        keys = sorted(self._at.get(address, ()))
        own = [key for key in keys if self._services[key]["spec"].get("clusterIP") == address]
        names = [f"{key.name}.{key.namespace}.svc.{self.domain}" for key in own]
        if not names:
            names = [name for _, name in sorted(set(self._endpoint_names(keys, address)))]
        return Answer(names=names) if names else None

    def _endpoint_names(self, keys: Iterable[Key], address: str) -> Iterator[tuple[bool, str]]:
        """Names of an endpoint; those by its own host name sort before the others."""
        for key in keys:
            for endpoint in _endpoints(self._slices[key]):
                if address in endpoint["addresses"]:
                    host = _names(endpoint, address)[0]
                    full = f"{host}.{key.name}.{key.namespace}.svc.{self.domain}"
                    yield not endpoint.get("hostname"), full

    def _addresses(self, key: Key) -> set[str]:
        """Those that the Service is found by."""
        service = self._services.get(key)
        if service is None:
            return set()
        own = {service["spec"].get("clusterIP")} - {None, "", "None"}
        return own.union(*(e["addresses"] for e in _endpoints(self._slices[key])))

    def _service(self, title: str, where: str) -> Answer | None:
        service = self._services.get(Key(where, title))
        if service is None:
            return None
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return Answer(alias=spec["externalName"].rstrip("."))
        if spec.get("clusterIP") not in (None, "", "None"):
            return Answer([spec["clusterIP"]])
        return Answer(sorted({a for _, a, _ in self._endpoints(service)}))

    def _host(self, host: str, title: str, where: str) -> Answer | None:
        service = self._services.get(Key(where, title))
        if service is None:
            return None
        found = [address for named, address, _ in self._endpoints(service) if host in named]
        return Answer(sorted(set(found))) if found else None

    def _port(self, port: str, protocol: str, title: str, where: str) -> Answer | None:
        service = self._services.get(Key(where, title))
        if service is None:
            return None
        base = f"{title}.{where}.svc.{self.domain}"
        if service["spec"].get("clusterIP") not in (None, "", "None"):
            wanted = (port, protocol.upper())
            numbers = [
                int(p["port"])
                for p in service["spec"].get("ports") or ()
                if (p.get("name"), p.get("protocol", "TCP")) == wanted
            ]
            if not numbers:
                return None
            return Answer(
                services=[Service(number, base) for number in numbers],
                extra={base: service["spec"]["clusterIP"]},
            )
        answer = Answer()
        for named, address, ports in self._endpoints(service):
            target = f"{named[0]}.{base}"
            for number in ports.get((port, protocol.upper()), ()):
                answer.services.append(Service(number, target))
                answer.extra[target] = address
        return answer if answer.services else None

    def _endpoints(
        self, service: Obj
    ) -> Iterator[tuple[list[str], str, dict[tuple[str, str], list[int]]]]:
        """The ready endpoints: their names (best first), address and ports."""
        for found in self._slices[Key(namespace(service), name(service))]:
            ports: dict[tuple[str, str], list[int]] = {}
            for port in found.get("ports") or ():
                pair = (port.get("name") or "", port.get("protocol") or "TCP")
                ports.setdefault(pair, []).append(int(port["port"]))
            for endpoint in found.get("endpoints") or ():
                if not (endpoint.get("conditions") or {}).get("ready", True):
                    continue
                for address in endpoint["addresses"]:
                    yield _names(endpoint, address), address, ports


def _names(endpoint: Obj, address: str) -> list[str]:
    target = endpoint.get("targetRef") or {}
    candidates = (endpoint.get("hostname"), target.get("name"), address.replace(".", "-"))
    return [str(candidate).lower() for candidate in candidates if candidate]


def _pod(text: str) -> Answer | None:
    try:
        return Answer([str(ipaddress.IPv4Address(text.replace("-", ".")))])
    except ValueError:
        return None


def _endpoints(slices: Iterable[Obj]) -> Iterator[Obj]:
    for found in slices:
        yield from found.get("endpoints") or ()
