"""A pod's ``resolv.conf``, by its ``dnsPolicy`` and ``dnsConfig`` (the kubelet's ``dns.go``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubeling.engine.podspec import spec
from kubeling.kube.objects import Obj, namespace

__all__ = ["Resolver", "pod_resolver", "read_host_resolver"]

_MAX_SERVERS: Final = 3
_MAX_SEARCHES: Final = 32
_FILES: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
# Names that come while the platform is away are asked for again until it is back.
_CLUSTER_OPTIONS: Final = {"ndots": "5", "timeout": "3", "attempts": "5"}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Name servers, search list and options; an option without a value has an empty one."""

    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"nameserver {server}" for server in self.servers]
        if self.searches:
            lines.append(f"search {' '.join(self.searches)}")
        if self.options:
            shown = (f"{name}:{value}" if value else name for name, value in self.options.items())
            lines.append(f"options {' '.join(shown)}")
        return "\n".join(lines) + "\n"


def pod_resolver(pod: Obj, domain: str, server: str, host: Resolver) -> Resolver | None:
    """What the pod's file says; ``None`` where it is the machine's own.

    ``server`` is the cluster's name server, empty if there is none.
    """
    wanted, config = spec(pod), spec(pod).get("dnsConfig") or {}
    policy = wanted.get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        return _with(Resolver(), config)
    of_cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not wanted.get("hostNetwork")
    )
    if of_cluster and server:
        names = [f"{namespace(pod)}.svc.{domain}", f"svc.{domain}", domain]
        own = Resolver([server], _unique([*names, *host.searches]), dict(_CLUSTER_OPTIONS))
        return _with(own, config)
    if wanted.get("hostNetwork"):
        return _with(host, config) if config else None
    if server and _only_loopback(host.servers):
        # A server on the machine's loopback cannot be reached from a pod; ours asks it.
        return _with(Resolver([server], host.searches, host.options), config)
    return _with(host, config)


def read_host_resolver(files: Iterable[Path] = _FILES) -> Resolver:
    """The machine's own, as far as another program can use it.

    Where a local stub (systemd-resolved) is all the first file names, the next is that stub's.
    """
    found = Resolver()
    for file in files:
        try:
            found = _parsed(file.read_text())
        except OSError:
            continue
        if not _only_loopback(found.servers):
            break
    return found


def _parsed(text: str) -> Resolver:
    found = Resolver()
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                found.servers.append(server)
            case ["search", *names]:
                found.searches[:] = [name for name in names if name != "."]
            case ["options", *options]:
                found.options.update(_option(option) for option in options)
    return found


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def _with(resolver: Resolver, config: Obj) -> Resolver:
    options = {o["name"]: str(o.get("value") or "") for o in config.get("options") or ()}
    return Resolver(
        _unique([*resolver.servers, *(config.get("nameservers") or ())])[:_MAX_SERVERS],
        _unique([*resolver.searches, *(config.get("searches") or ())])[:_MAX_SEARCHES],
        {**resolver.options, **options},
    )


def _only_loopback(servers: Iterable[str]) -> bool:
    return all(ipaddress.ip_address(server.partition("%")[0]).is_loopback for server in servers)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
