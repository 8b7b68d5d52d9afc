"""Service account tokens: JSON Web Tokens signed with the server's own key (ES256).

A token names its account, and the object it is bound to where there is one; it is worth something
only while both exist with the same uid. Checked tokens are remembered for a while, because
clients send the same one with every request.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.apiserver.tls import Authority
from kubeling.apiserver.user import User
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["ISSUER", "TokenError", "Tokens"]

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_REMEMBERED: Final = 1024


class TokenError(Exception):
    """The token proves nothing; the message says why."""


class Bound(msgspec.Struct):
    """An object that a token, or its validity, depends on."""

    name: str
    uid: str


class _Kubernetes(msgspec.Struct, rename="lower"):
    namespace: str
    serviceaccount: Bound
    pod: Bound | None = None
    secret: Bound | None = None


class Claims(msgspec.Struct):
    """What a token says."""

    iss: str
    sub: str
    aud: list[str]
    exp: int
    iat: int
    nbf: int
    jti: str
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io")


class Tokens:
    """Issues and checks the tokens of service accounts."""

    def __init__(self, authority: Authority, store: Store, clock: Clock) -> None:
        self._authority = authority
        self._store = store
        self._clock = clock
        self._checked: dict[str, Claims] = {}
        self._key: EllipticCurvePrivateKey | None = None

    def issue(
        self,
        account: Obj,
        *,
        seconds: int,
        audiences: Sequence[str] = (),
        pod: Obj | None = None,
        secret: Obj | None = None,
    ) -> tuple[str, int]:
        """A token for an account, and when it expires (seconds since the epoch)."""
        metadata = account["metadata"]
        now = int(self._clock.now().timestamp())
        claims = Claims(
            iss=ISSUER,
            sub=f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            aud=list(audiences) or [ISSUER],
            exp=now + seconds,
            iat=now,
            nbf=now,
            jti=str(uuid.uuid4()),
            kubernetes=_Kubernetes(
                metadata["namespace"],
                _bound(account),
                _bound(pod) if pod else None,
                _bound(secret) if secret else None,
            ),
        )
        return self._signed(claims), claims.exp

    def check(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> tuple[User, list[str]]:
        """Whom the token stands for, and for which audiences; raises :class:`TokenError`."""
        claims = self._checked.get(token) or self._verified(token)
        if claims.exp <= self._clock.now().timestamp():
            raise TokenError("the token has expired")
        fitting = [audience for audience in audiences if audience in claims.aud]
        if not fitting:
            raise TokenError("the token is meant for another audience")
        self._check_bindings(claims.kubernetes)
        return _user(claims), fitting

    def jwks(self) -> Obj:
        """The public key, for others to check tokens with."""
        numbers = self._signing_key().public_key().public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "EC",
                    "kid": self._key_id(),
                    "crv": "P-256",
                    "alg": "ES256",
                    "x": _encode(numbers.x.to_bytes(32, "big")),
                    "y": _encode(numbers.y.to_bytes(32, "big")),
                }
            ]
        }

    def _signed(self, claims: Claims) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        header = {"alg": "ES256", "kid": self._key_id(), "typ": "JWT"}
        text = f"{_encode(msgspec.json.encode(header))}.{_encode(msgspec.json.encode(claims))}"
        signature = self._signing_key().sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{text}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _verified(self, token: str) -> Claims:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        parts = token.split(".")
        if len(parts) != 3:
            raise TokenError("not a service account token")
        try:
            header = msgspec.json.decode(_decode(parts[0]))
            claims = msgspec.json.decode(_decode(parts[1]), type=Claims)
            raw = _decode(parts[2])
        except (ValueError, msgspec.MsgspecError):
            raise TokenError("not a service account token") from None
        if not isinstance(header, dict) or header.get("alg") != "ES256" or len(raw) != 64:
            raise TokenError("the token is not signed with this server's key")
        signature = encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )
        try:
            self._signing_key().public_key().verify(
                signature, f"{parts[0]}.{parts[1]}".encode(), ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            raise TokenError("the token is not signed with this server's key") from None
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked[token] = claims
        return claims

    def _check_bindings(self, named: _Kubernetes) -> None:
        for resource, bound in (
            ("serviceaccounts", named.serviceaccount),
            ("pods", named.pod),
            ("secrets", named.secret),
        ):
            if bound is None:
                continue
            record = self._store.get(StoreKey(f"/{resource}", named.namespace, bound.name))
            if record is None or record.obj["metadata"]["uid"] != bound.uid:
                raise TokenError(f"{resource} {bound.name}, which the token needs, is gone")

    def _signing_key(self) -> EllipticCurvePrivateKey:
        if self._key is None:
            self._key = self._authority.signing_key("service-accounts")
        return self._key

    def _key_id(self) -> str:
        numbers = self._signing_key().public_key().public_numbers()
        return _encode(hashlib.sha256(numbers.x.to_bytes(32, "big")).digest())


def _bound(obj: Obj) -> Bound:
    return Bound(obj["metadata"]["name"], obj["metadata"]["uid"])


def _user(claims: Claims) -> User:
    named = claims.kubernetes
    extra: dict[str, tuple[str, ...]] = {
        "authentication.kubernetes.io/credential-id": (f"JTI={claims.jti}",)
    }
    if named.pod is not None:
        extra["authentication.kubernetes.io/pod-name"] = (named.pod.name,)
        extra["authentication.kubernetes.io/pod-uid"] = (named.pod.uid,)
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{named.namespace}",
        "system:authenticated",
    )
    return User(claims.sub, groups, named.serviceaccount.uid, extra)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> Any:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
