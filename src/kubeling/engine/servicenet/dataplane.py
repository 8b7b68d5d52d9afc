"""What callers of Services meet: listeners, the ways behind them, names, and who may go where.

It is told everything and decides nothing, so that it goes on with what it was told last while
nobody tells it anything: pods outlive a crash of the platform, and so do their connections through
Services. Meanwhile (``attended`` is false) whoever is led nowhere waits instead of being refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

from kubeling.engine.netpolicy.spans import number_of
from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.dns import DnsServer
from kubeling.engine.servicenet.forwarder import TcpForwarder, UdpForwarder
from kubeling.engine.servicenet.messages import Failure, Front
from kubeling.engine.servicenet.reach import Reach
from kubeling.engine.servicenet.routes import Address, Frontend
from kubeling.engine.servicenet.zone import Zone
from kubeling.kube.objects import Key, Obj

__all__ = ["DataPlane"]

_Forwarder = TcpForwarder | UdpForwarder


class DataPlane:
    """One instance's. All methods belong to one event loop.

    The addresses of ``early`` may become this machine's after they are listened on: ``reach``
    makes them so with :meth:`open`. Names are asked for at ``sockets``, for packets and streams.
    """

    def __init__(
        self,
        zone: Zone,
        upstream: Iterable[str] = (),
        early: ipaddress.IPv4Network | None = None,
        reach: Reach | None = None,
        sockets: tuple[socket.socket, socket.socket] | None = None,
    ) -> None:
        self._zone = zone
        self._dns = DnsServer(zone, list(upstream), lambda: self.attended)
        self._early = early
        self._reach = reach
        self._sockets = sockets
        self._verdicts: Verdicts | None = None
        self._open: dict[Key, dict[Frontend, _Forwarder]] = {}
        self.attended = False
        """Whether all that exists is known."""

    async def serve(
        self, key: Key, service: Obj | None, slices: Sequence[Obj], fronts: Sequence[Front]
    ) -> list[Failure]:
        """Opens, redirects and closes what one Service needs; returns what was refused."""
        self._zone.put(key, service, slices)
        present = self._open.setdefault(key, {})
        for place in present.keys() - {front.place for front in fronts}:
            if (closed := present.pop(place, None)) is not None:
                await closed.stop()
        refused = []
        for front in fronts:
            if front.place in present:
                self._lead(present[front.place].backends, front)
                continue
            try:
                present[front.place] = await self._listen(front)
            except OSError as error:
                message = error.strerror or str(error)
                refused.append(Failure(front.place, error.errno or 0, message))
        if not present:
            self._open.pop(key, None)
        return refused

    async def retain(self, keys: Iterable[Key]) -> None:
        """Forgets all other Services."""
        for key in {*self._open, *self._zone.services} - set(keys):
            await self.serve(key, None, (), ())

    async def judge(self, verdicts: Verdicts | None) -> None:
        """Network policies have changed; ``None``: there are none."""
        self._verdicts = verdicts

    async def open(self) -> None:
        """All that exists has been told."""
        if self._sockets is not None:
            await self._dns.start(*self._sockets)
            self._sockets = None
        if self._reach is not None:
            self._reach.open()
        self.attended = True

    async def close(self) -> None:
        """Stops listening altogether, and leaves nothing in the kernel."""
        await self.retain(())
        await self._dns.close()
        for channel in self._sockets or ():
            channel.close()
        if self._reach is not None:
            self._reach.close()

    async def _listen(self, front: Front) -> _Forwarder:
        backends = Backends()
        self._lead(backends, front)
        protocol, host, port = front.place
        forwarder = (
            UdpForwarder(backends) if protocol == "UDP" else TcpForwarder(backends, self._patient)
        )
        early = self._early is not None and ipaddress.ip_address(host) in self._early
        await forwarder.start(host, port, early=early)
        return forwarder

    def _lead(self, backends: Backends, front: Front) -> None:
        backends.places = front.behind
        backends.affinity = front.affinity
        blocks = [ipaddress.ip_network(block) for block in front.sources]
        protocol = front.place.protocol

        def admits(source: str, address: Address) -> bool:
            if blocks and not any(ipaddress.ip_address(source) in block for block in blocks):
                return False
            if self._verdicts is None:
                return True
            host, port = address
            return self._verdicts.allows(number_of(source), number_of(host), protocol, port)

        backends.admits = admits

    def _patient(self) -> bool:
        """Who is behind a Service may be another when the platform is back."""
        return not self.attended
