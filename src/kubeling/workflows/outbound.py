"""How the requests of ``http`` templates find their way: names of Services, and proxies.

Upstream's requests leave from a pod in the Workflow's namespace, so that ``http://name:port/`` is a
Service there; ours leave from the controllers (decision 0026), whose machine may know no such name.
A Service's address is therefore looked up first. All other names are the machine's to resolve, or
the proxy's that the environment names, as in Go's default client. The library's own reading of the
environment would hand out the passwords of the controllers' ``.netrc``, too.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from kubeling.kube.client import Client
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES

__all__ = ["ServiceNames", "near_address", "proxy_for"]

_OF_SERVICE: Final = "kubernetes.io/service-name"


class ServiceNames(AbstractResolver):
    """Resolves names as a pod of ``namespace`` would; ``client`` may read Services everywhere."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._machine = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a Service, or what the machine knows by that name."""
        addresses = await self.addresses(host)
        if addresses is None:
            return await self._machine.resolve(host, port, family)
        if not addresses:
            raise OSError(None, f'Service "{host}" has no ready endpoints')
        return [_result(host, address, port) for address in addresses]

    async def addresses(self, host: str) -> list[str] | None:
        """The addresses of a Service; ``None`` if there is none of that name."""
        match host.rstrip(".").split("."):
            case [name] if name:
                where = self._namespace
            case [name, where] | [name, where, "svc", *_] if name and where:
                pass
            case _:
                return None
        service = await self._client.find(SERVICES, name, where)
        address = (service or {}).get("spec", {}).get("clusterIP")
        if address == "None":
            return await self._endpoints(name, where)
        return [address] if address else None

    async def close(self) -> None:
        """Closes the machine's resolver."""
        await self._machine.close()

    async def _endpoints(self, name: str, where: str) -> list[str]:
        slices = await self._client.list(ENDPOINT_SLICES, where, labels=f"{_OF_SERVICE}={name}")
        return [
            address
            for found in slices.items
            for endpoint in found.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint.get("addresses") or ()
        ]


async def proxy_for(url: str, names: ServiceNames) -> URL | None:
    """The proxy to ask, with the name and password it takes; never for what is near."""
    wanted = URL(url)
    host = wanted.host or ""
    proxy = getproxies().get(wanted.scheme)
    if not proxy or proxy_bypass(host) or _is_this_machine(host):
        return None
    if await names.addresses(host) is not None:
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")


async def near_address(url: str, names: ServiceNames) -> str:
    """An address with that of a Service in place of its name; others as they are."""
    wanted = URL(url)
    found = await names.addresses(wanted.host or "")
    return str(wanted.with_host(found[0])) if found else url


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
