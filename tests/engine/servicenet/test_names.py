"""Names of Services and their pods, as a resolver asks for them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from dnslib import EDNS0, QTYPE, RCODE, DNSRecord
from tests.support.services import HERE, endpoint, endpoint_slice, service

from kubeling.component import Context
from kubeling.engine.servicenet.dataplane import DataPlane
from kubeling.engine.servicenet.dns import dns_sockets
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.proxy import ServiceProxy
from kubeling.engine.servicenet.zone import Zone
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES


async def query(address: tuple[str, int], name: str, kind: str = "A") -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect(address)
        await loop.sock_sendall(channel, DNSRecord.question(name, kind).pack())
        async with asyncio.timeout(5):
            return DNSRecord.parse(await loop.sock_recv(channel, 4096))


def free_sockets() -> tuple[socket.socket, socket.socket]:
    """A port that is free for packets may be taken for streams."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            return dns_sockets(HERE, 0)
    raise AssertionError("no port is free")


@contextlib.asynccontextmanager
async def resolving(context: Context) -> AsyncIterator[tuple[str, int]]:
    packets, streams = free_sockets()
    plane = DataPlane(Zone("cluster.local"), sockets=(packets, streams))
    await ServiceProxy(context, NodeHosts((), HERE), plane).begin()
    await plane.open()
    try:
        yield packets.getsockname()
    finally:
        await plane.close()


def addresses(answer: DNSRecord) -> list[str]:
    return sorted(str(record.rdata) for record in answer.rr if record.rtype == QTYPE.A)


async def test_names_of_services_and_their_pods(context: Context) -> None:
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    headless = service("nodes", clusterIP="None", ports=[{"name": "rpc", "port": 80}])
    await context.client.create(SERVICES, headless)
    await context.client.create(
        ENDPOINT_SLICES,
        endpoint_slice(
            "nodes",
            endpoint("10.0.0.1", pod="nodes-0", host="nodes-0"),
            endpoint("10.0.0.2", pod="worker-b"),
            endpoint("10.0.0.3", pod="starting", ready=False),
            port=2222,
            name="rpc",
        ),
    )
    async with resolving(context) as server:

        async def resolved(name: str) -> list[str]:
            return addresses(await query(server, f"{name}.svc.cluster.local"))

        assert await resolved("web.default") == [made["spec"]["clusterIP"]]
        assert await resolved("nodes.default") == ["10.0.0.1", "10.0.0.2"]
        assert await resolved("nodes-0.nodes.default") == ["10.0.0.1"]
        assert await resolved("WORKER-B.nodes.default") == ["10.0.0.2"]
        found = await query(server, "_rpc._tcp.nodes.default.svc.cluster.local", "SRV")
        targets = sorted((record.rdata.port, str(record.rdata.target)) for record in found.rr)
        assert targets[0] == (2222, "nodes-0.nodes.default.svc.cluster.local.")
        missing = await query(server, "nobody.default.svc.cluster.local")
        assert missing.header.rcode == RCODE.NXDOMAIN
        other_type = await query(server, "web.default.svc.cluster.local", "AAAA")
        assert other_type.header.rcode == RCODE.NOERROR
        assert not other_type.rr
        beyond = await query(server, "example.com")
        assert beyond.header.rcode == RCODE.SERVFAIL


async def test_names_over_tcp(context: Context) -> None:
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    async with resolving(context) as (host, port):
        question = DNSRecord.question("web.default.svc.cluster.local")
        answer = await asyncio.to_thread(question.send, host, port, tcp=True, timeout=5)
    assert addresses(DNSRecord.parse(answer)) == [made["spec"]["clusterIP"]]


async def test_addresses_lead_back_to_names(context: Context) -> None:
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    await context.client.create(SERVICES, service("nodes", clusterIP="None"))
    slice_ = endpoint_slice("nodes", endpoint("10.0.0.1", pod="p", host="nodes-0"))
    await context.client.create(ENDPOINT_SLICES, slice_)
    async with resolving(context) as server:

        async def names(address: str) -> list[str]:
            query_name = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
            return [str(record.rdata) for record in (await query(server, query_name, "PTR")).rr]

        assert await names(made["spec"]["clusterIP"]) == ["web.default.svc.cluster.local."]
        assert await names("10.0.0.1") == ["nodes-0.nodes.default.svc.cluster.local."]
        beyond = await query(server, "1.1.1.1.in-addr.arpa", "PTR")
        assert beyond.header.rcode == RCODE.SERVFAIL


async def test_absence_says_how_long_it_may_be_remembered(context: Context) -> None:
    await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    async with resolving(context) as server:
        for name, kind in (("nobody.default.svc", "A"), ("web.default.svc", "AAAA")):
            answer = await query(server, f"{name}.cluster.local", kind)
            (authority,) = answer.auth
            assert authority.rtype == QTYPE.SOA
            assert str(authority.rname) == "cluster.local."
            assert authority.rdata.times[-1] == authority.ttl == 5
        assert (await query(server, "cluster.local", "SOA")).rr[0].rtype == QTYPE.SOA
        version = await query(server, "dns-version.cluster.local", "TXT")
        assert '"1.1.0"' in str(version.rr[0].rdata)


async def test_an_answer_too_big_for_a_packet_is_asked_for_again_over_tcp(
    context: Context,
) -> None:
    await context.client.create(SERVICES, service("many", clusterIP="None"))
    slice_ = endpoint_slice("many", *(endpoint(f"10.0.1.{n}") for n in range(1, 101)))
    await context.client.create(ENDPOINT_SLICES, slice_)
    async with resolving(context) as (host, port):
        question = DNSRecord.question("many.default.svc.cluster.local")
        short = await query((host, port), "many.default.svc.cluster.local")
        assert short.header.tc
        assert len(short.pack()) <= 512
        whole = await asyncio.to_thread(question.send, host, port, tcp=True, timeout=5)
        assert len(addresses(DNSRecord.parse(whole))) == 100
        question.add_ar(EDNS0(udp_len=1232))
        fits = DNSRecord.question("dns-version.cluster.local", "TXT")
        fits.add_ar(EDNS0(udp_len=1232))
        answer = await asyncio.to_thread(fits.send, host, port, timeout=5)
        assert any(record.rtype == QTYPE.OPT for record in DNSRecord.parse(answer).ar)


async def test_an_external_name_is_an_alias(context: Context) -> None:
    away = service("away", type="ExternalName", externalName="web.default.svc.cluster.local")
    await context.client.create(SERVICES, away)
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    async with resolving(context) as server:
        answer = await query(server, "away.default.svc.cluster.local")
    assert [record.rtype for record in answer.rr] == [QTYPE.CNAME, QTYPE.A]
    assert addresses(answer) == [made["spec"]["clusterIP"]]
