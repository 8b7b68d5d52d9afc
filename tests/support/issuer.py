"""An OpenID issuer: discovery, keys and tokens, over HTTPS under an authority of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.support.webhooks import certificates

__all__ = ["Issuer", "running_issuer"]

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass
class Issuer:
    """A running issuer; what it serves may be changed at any time."""

    url: str = ""
    authority: str = ""
    """The certificate (PEM) of whoever vouches for it."""
    keys: dict[str, Key] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def rotate(self, key_id: str, *, curve: ec.EllipticCurve | None = None) -> None:
        """Forgets the old keys and signs with a new one."""
        new: Key = (
            ec.generate_private_key(curve)
            if curve is not None
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        self.keys = {key_id: new}

    def token(self, algorithm: str = "RS256", **claims: Any) -> str:
        """A signed token for the client ``kubeling`` that is good for a while."""
        key_id, key = next(iter(self.keys.items()))
        now = int(time.time())
        base = {"iss": self.url, "aud": "kubeling", "sub": "42", "iat": now, "exp": now + 600}
        return jwt.encode({**base, **claims}, key, algorithm=algorithm, headers={"kid": key_id})

    def key_set(self) -> dict[str, Any]:
        """The public keys."""
        listed = []
        for key_id, key in self.keys.items():
            kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            listed.append({**json.loads(kind.to_jwk(key.public_key())), "kid": key_id})
        return {"keys": listed}

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/.well-known/openid-configuration":
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery}
            return web.json_response(found)
        if request.path == "/keys":
            return web.json_response(self.key_set())
        return web.Response(status=404)


@contextlib.asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """Runs an issuer with one RSA key."""
    issued = certificates()
    issuer = Issuer(authority=base64.b64decode(issued.bundle).decode())
    issuer.rotate("first")
    runner = web.ServerRunner(web.Server(issuer._respond), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=issued.context())
    await site.start()
    issuer.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
