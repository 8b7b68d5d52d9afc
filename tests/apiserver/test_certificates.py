"""Certificate requests: asked for, approved, signed, used, and cleared away."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support.apiserver import RunningServer, running_server
from tests.support.callers import MYSELF

from kubeling.apiserver.certificates.signing import CertificateSigning
from kubeling.apiserver.upkeep import Upkeep
from kubeling.kube.client import Client
from kubeling.kube.clock import FakeClock
from kubeling.kube.errors import BadRequest, Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource

GROUP = "certificates.k8s.io"
REQUESTS = Resource(
    GROUP, "v1", "CertificateSigningRequest", "certificatesigningrequests", False, ("csr",)
)
RBAC = "rbac.authorization.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"
KEY = ec.generate_private_key(ec.SECP256R1())


def text(name: str, *groups: str, names: tuple[x509.GeneralName, ...] = ()) -> str:
    """The text of a request, as a user's ``openssl req`` would make it."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(KEY, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def request(name: str = "ann", signer: str = CLIENT, **spec: Any) -> Obj:
    base = {"request": text("ann", "ops"), "signerName": signer, "usages": ["client auth"]}
    return new_object(REQUESTS, name, spec={**base, **spec})


def condition(kind: str) -> Obj:
    return {"type": kind, "status": "True", "reason": "Test", "message": "by a test"}


async def decide(client: Client, name: str, kind: str = "Approved", **more: Any) -> Obj:
    found = await client.get(REQUESTS, name)
    found["status"] = {"conditions": [{**condition(kind), **more}]}
    return await client.replace(REQUESTS, found, subresource="approval")


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


async def until(client: Client, name: str, holds: Callable[[Obj], Any]) -> Obj:
    """The request as soon as something holds of its status."""
    found = await client.list(REQUESTS)
    for item in found.items:
        if item["metadata"]["name"] == name and holds(item.get("status") or {}):
            return item
    watch = client.watch(REQUESTS, resource_version=found.resource_version)
    async with contextlib.aclosing(watch):
        async for event in watch:
            if event.object["metadata"]["name"] == name and holds(event.object["status"]):
                return event.object
    raise AssertionError("unreachable")


async def signed(client: Client, name: str) -> x509.Certificate:
    found = await until(client, name, lambda status: status.get("certificate"))
    return x509.load_pem_x509_certificate(base64.b64decode(found["status"]["certificate"]))


async def let(running: RunningServer, user: str, *rules: Obj) -> Client:
    await running.client.create(CLUSTER_ROLES, new_object(CLUSTER_ROLES, user, rules=list(rules)))
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": user}
    subjects = [{"kind": "User", "apiGroup": RBAC, "name": user}]
    bound = new_object(CLUSTER_ROLE_BINDINGS, user, roleRef=reference, subjects=subjects)
    await running.client.create(CLUSTER_ROLE_BINDINGS, bound)
    return running.client_of(user)


def rule(verbs: str, resources: str, *names: str) -> Obj:
    made: Obj = {"verbs": verbs.split(), "apiGroups": [GROUP], "resources": resources.split()}
    return {**made, "resourceNames": list(names)} if names else made


async def test_who_asks_is_noted_whatever_the_request_says(running: RunningServer) -> None:
    ann = await let(running, "ann", rule("create", "certificatesigningrequests"))
    wanted = request(username="root", groups=["system:masters"], uid="0")
    wanted["status"] = {"conditions": [condition("Approved")], "certificate": "eA=="}
    made = await ann.create(REQUESTS, wanted)
    assert made["spec"]["username"] == "ann"
    assert made["spec"]["groups"] == ["system:authenticated"]
    assert "uid" not in made["spec"]
    assert made["status"] == {}


async def test_an_approved_request_is_signed_and_opens_the_door(tmp_path: Path) -> None:
    async with running_server(https=True) as running:
        await running.client.create(REQUESTS, request(expirationSeconds=3600))
        assert not (await running.client.get(REQUESTS, "ann"))["status"]
        decided = await decide(running.client, "ann")
        (approved,) = decided["status"]["conditions"]
        assert approved["lastUpdateTime"]
        assert approved["lastTransitionTime"]
        certificate = await signed(running.client, "ann")
        assert certificate.subject.rfc4514_string() == "CN=ann,O=ops"
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        lifetime = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
        assert dt.timedelta(0) < lifetime <= dt.timedelta(hours=1)
        assert await whoami(running, certificate, tmp_path) == {
            "username": "ann",
            "groups": ["ops", "system:authenticated"],
        }


async def whoami(running: RunningServer, certificate: x509.Certificate, folder: Path) -> Obj:
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = KEY.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file = folder / "ann.pem"
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.create_default_context(cadata=running.server.authority.certificate)
    context.load_cert_chain(file)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(running.server.url + MYSELF.path(), json={}) as response,
    ):
        answer: Obj = await response.json()
        found: Obj = answer["status"]["userInfo"]
        return found


async def test_a_denied_request_is_never_signed(running: RunningServer) -> None:
    await running.client.create(REQUESTS, request())
    await decide(running.client, "ann", "Denied")
    with pytest.raises(Invalid, match='may not remove a condition of type "Denied"'):
        await decide(running.client, "ann", "Approved")
    both = await running.client.get(REQUESTS, "ann")
    both["status"]["conditions"].append(condition("Approved"))
    with pytest.raises(Invalid, match="Approved and Denied conditions are mutually exclusive"):
        await running.client.replace(REQUESTS, both, subresource="approval")


async def test_approving_and_signing_are_rights_by_signer(running: RunningServer) -> None:
    await running.client.create(REQUESTS, request())
    await running.client.create(REQUESTS, request("other", "acme.io/signer"))
    every = rule("get update", "certificatesigningrequests/approval certificatesigningrequests")
    status = rule("update", "certificatesigningrequests/status")
    bob = await let(running, "bob", every, status)
    eve = await let(running, "eve", every, rule("approve", "signers", "acme.io/*"))
    with pytest.raises(Forbidden, match='not permitted to approve requests with signerName "kube'):
        await decide(bob, "ann")
    with pytest.raises(Forbidden, match="not permitted to approve"):
        await decide(eve, "ann")
    await decide(eve, "other")
    forged = await running.client.get(REQUESTS, "other")
    forged["status"]["certificate"] = base64.b64encode(
        running.server.authority.certificate.encode()
    ).decode()
    with pytest.raises(Forbidden, match="not permitted to sign requests with signerName"):
        await bob.replace(REQUESTS, forged, subresource="status")


async def test_a_signer_of_others_puts_the_certificate_in(running: RunningServer) -> None:
    await running.client.create(REQUESTS, request("other", "acme.io/signer"))
    await decide(running.client, "other")
    found = await running.client.get(REQUESTS, "other")
    for wrong, message in (("eA==", r"status\.certificate"), ("!", "illegal base64 data")):
        found["status"]["certificate"] = wrong
        with pytest.raises((BadRequest, Invalid), match=message):
            await running.client.replace(REQUESTS, found, subresource="status")
    pem = running.server.authority.certificate.encode()
    found["status"]["certificate"] = base64.b64encode(pem).decode()
    kept = await running.client.replace(REQUESTS, found, subresource="status")
    kept["status"]["certificate"] = base64.b64encode(pem + pem).decode()
    with pytest.raises(Invalid, match="may not modify existing certificate content"):
        await running.client.replace(REQUESTS, kept, subresource="status")


async def test_what_was_asked_for_cannot_be_changed(running: RunningServer) -> None:
    await running.client.create(REQUESTS, request())
    changed = request(usages=["server auth"])
    changed["metadata"]["labels"] = {"a": "b"}
    kept = await running.client.replace(REQUESTS, changed)
    assert kept["spec"]["usages"] == ["client auth"]
    assert kept["metadata"]["labels"] == {"a": "b"}
    found = await decide(running.client, "ann", lastUpdateTime="2026-01-01T00:00:00Z")
    assert found["spec"]["usages"] == ["client auth"]
    (approved,) = found["status"]["conditions"]
    assert approved["lastUpdateTime"] == "2026-01-01T00:00:00Z"


async def test_nobody_becomes_an_administrator_by_certificate(running: RunningServer) -> None:
    with pytest.raises(Forbidden, match="signer with system:masters group is not allowed"):
        await running.client.create(REQUESTS, request(request=text("ann", "system:masters")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"request": "eA=="}, "PEM block type must be CERTIFICATE REQUEST"),
        ({"request": "!"}, "illegal base64 data"),
        ({"usages": []}, "spec.usages: Required value"),
        ({"usages": ["client auth", "client auth"]}, r"spec.usages\[1\]: Duplicate value"),
        ({"usages": ["flying"]}, 'Unsupported value: "flying"'),
        ({"signer": "unqualified"}, "must be a fully qualified domain and path"),
        ({"signer": "kubernetes.io/legacy-unknown"}, "legacy signerName is not allowed"),
        ({"expirationSeconds": 599}, "less than 600 seconds"),
    ],
)
async def test_a_request_that_cannot_be_right_is_refused(
    running: RunningServer, change: Obj, message: str
) -> None:
    with pytest.raises((BadRequest, Invalid), match=message):
        await running.client.create(REQUESTS, request(**change))


NODE = ("system:node:n", "system:nodes")
ADDRESS = (x509.IPAddress(ipaddress.ip_address("10.0.0.1")),)
KUBELET = ["digital signature", "key encipherment", "client auth"]
SERVING = ["digital signature", "server auth"]


@pytest.mark.parametrize(
    ("signer", "spec", "fault"),
    [
        (CLIENT, {"usages": ["server auth"]}, "invalid usage for client certificate: server auth"),
        (CLIENT, {"usages": ["digital signature"]}, "missing required usage"),
        ("kubernetes.io/kube-apiserver-client-kubelet", {"usages": KUBELET}, "organization is not"),
        (
            "kubernetes.io/kube-apiserver-client-kubelet",
            {"request": text(*NODE), "usages": KUBELET},
            "",
        ),
        (
            "kubernetes.io/kube-apiserver-client-kubelet",
            {"request": text(*NODE, names=ADDRESS), "usages": KUBELET},
            "IP subjectAltNames are not allowed",
        ),
        (
            "kubernetes.io/kubelet-serving",
            {"request": text(*NODE, names=ADDRESS), "usages": SERVING},
            "",
        ),
        (
            "kubernetes.io/kubelet-serving",
            {"request": text(*NODE), "usages": SERVING},
            "DNS or IP subjectAltName is required",
        ),
        (
            "kubernetes.io/kubelet-serving",
            {"request": text("n", "system:nodes", names=ADDRESS), "usages": SERVING},
            "common name does not begin with system:node:",
        ),
    ],
)
async def test_each_signer_signs_what_it_is_for(
    running: RunningServer, signer: str, spec: Obj, fault: str
) -> None:
    await running.client.create(REQUESTS, request("r", signer, **spec))
    await decide(running.client, "r")
    if not fault:
        certificate = await signed(running.client, "r")
        assert certificate.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
        return
    found = await until(running.client, "r", lambda status: len(status["conditions"]) > 1)
    failed = found["status"]["conditions"][1]
    assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")
    assert fault in failed["message"]
    assert "certificate" not in found["status"]


async def test_requests_go_when_they_are_over() -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    async with running_server(clock=clock) as running:
        client = running.client
        for name in ("pending", "denied", "issued", "unsigned"):
            signer = "acme.io/signer" if name == "unsigned" else CLIENT
            await client.create(REQUESTS, request(name, signer))
        await decide(client, "denied", "Denied")
        await decide(client, "unsigned")
        await decide(client, "issued")
        await signed(client, "issued")

        async def left() -> set[str]:
            server = running.server
            upkeep = Upkeep(server.registry)
            await CertificateSigning(server.registry, server.authority, upkeep).expire()
            return {item["metadata"]["name"] for item in (await client.list(REQUESTS)).items}

        clock.advance(3500)
        assert await left() == {"pending", "denied", "issued", "unsigned"}
        clock.advance(200)
        assert await left() == {"pending", "unsigned"}
        clock.advance(24 * 3600)
        assert await left() == set()


async def test_a_request_may_have_any_name_and_is_found_by_its_signer(
    running: RunningServer,
) -> None:
    await running.client.create(REQUESTS, request("csr:Ann_1"))
    await running.client.create(REQUESTS, request("other", "acme.io/signer"))
    found = await running.client.list(REQUESTS, fields="spec.signerName=acme.io/signer")
    assert [item["metadata"]["name"] for item in found.items] == ["other"]
