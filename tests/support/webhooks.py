"""A users' webhook: an HTTPS server under an authority of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ipaddress
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Obj = dict[str, Any]
Answer = Callable[[Obj], "Obj | web.Response | Awaitable[Obj | web.Response]"]
"""From a review's request to its response (without the uid), or to a raw answer."""

SERVICE = "hook"
HOST = f"{SERVICE}.default.svc"


@dataclass
class WebhookServer:
    """What was asked of it, and where it can be reached."""

    port: int
    ca_bundle: str
    answers: dict[str, Answer]
    requests: list[Obj] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def url(self, path: str = "/") -> Obj:
        """A client configuration by address."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.ca_bundle}

    def service(self, path: str = "/") -> Obj:
        """A client configuration by the Service that its certificate is for."""
        service = {"name": SERVICE, "namespace": "default", "path": path, "port": 8443}
        return {"service": service, "caBundle": self.ca_bundle}

    async def respond(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.requests.append(review["request"])
        self.paths.append(request.path)
        answer = self.answers[request.path](review["request"])
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        response = {"uid": review["request"]["uid"], **answer}
        kept = {key: review[key] for key in ("kind", "apiVersion")}
        return web.json_response({**kept, "response": response})


def patch(*operations: Obj) -> Obj:
    """A response that allows and changes."""
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def allow(request: Obj) -> Obj:
    """An answer that says yes."""
    return {"allowed": True}


@contextlib.asynccontextmanager
async def webhook_server(**answers: Answer) -> AsyncIterator[WebhookServer]:
    """Serves each answer at the path of its name."""
    issued = certificates()
    server = WebhookServer(
        0, issued.bundle, {f"/{name}": answer for name, answer in answers.items()}
    )
    app = web.Application()
    app.router.add_post("/{path:.*}", server.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=issued.context())
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Certificates:
    """What a webhook serves with, and the authority to trust (PEM in base64)."""

    chain: bytes
    key: bytes
    bundle: str

    def context(self) -> ssl.SSLContext:
        """TLS of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="kubeling-") as folder:
            chain, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            chain.write_bytes(self.chain)
            key.write_bytes(self.key)
            context.load_cert_chain(chain, key)
        return context


def certificates() -> Certificates:
    """A certificate for the Service and for this machine, by an authority of its own."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook authority")])
    authority = _signed(issuer, issuer, authority_key, authority_key, ca=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = _signed(subject, issuer, key, authority_key, ca=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return Certificates(
        certificate.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        base64.b64encode(authority.public_bytes(pem)).decode(),
    )


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(by, hashes.SHA256())
    )
