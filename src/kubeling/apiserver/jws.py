"""Signed tokens in compact form, with the server's own key (ES256).

Every pod has such a token and sends it with every request, so this is a few lines over
``cryptography`` rather than a library that takes longer to import than a token to check.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.apiserver.tls import Authority
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["SignatureError", "Signer", "unverified_claims"]

_NUMBER: Final = 32
"""The bytes of a coordinate, and of each half of a signature."""


class SignatureError(Exception):
    """The token was not signed with this key."""


class Signer:
    """Signs and verifies with a key that is made, or read, when it is first needed."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._key: EllipticCurvePrivateKey | None = None

    def sign(self, claims: Any) -> str:
        """The token that says ``claims``."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        header = {"alg": "ES256", "kid": self._key_id(), "typ": "JWT"}
        text = f"{_encode(msgspec.json.encode(header))}.{_encode(msgspec.json.encode(claims))}"
        signature = self._signing_key().sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        halves = (part.to_bytes(_NUMBER, "big") for part in decode_dss_signature(signature))
        return f"{text}.{_encode(b''.join(halves))}"

    def verified(self, token: str) -> bytes:
        """The claims of a token as they were signed; raises :class:`SignatureError`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        text, _, last = token.rpartition(".")
        first, _, middle = text.partition(".")
        try:
            header = msgspec.json.decode(_decode(first))
            claims, raw = _decode(middle), _decode(last)
        except (ValueError, msgspec.MsgspecError):
            raise SignatureError from None
        if not isinstance(header, dict) or header.get("alg") != "ES256" or len(raw) != 2 * _NUMBER:
            raise SignatureError
        signature = encode_dss_signature(
            int.from_bytes(raw[:_NUMBER], "big"), int.from_bytes(raw[_NUMBER:], "big")
        )
        try:
            self._signing_key().public_key().verify(
                signature, text.encode(), ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            raise SignatureError from None
        return claims

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
                    "x": _encode(numbers.x.to_bytes(_NUMBER, "big")),
                    "y": _encode(numbers.y.to_bytes(_NUMBER, "big")),
                }
            ]
        }

    def _signing_key(self) -> EllipticCurvePrivateKey:
        if self._key is None:
            self._key = self._authority.signing_key("service-accounts")
        return self._key

    def _key_id(self) -> str:
        numbers = self._signing_key().public_key().public_numbers()
        return _encode(hashlib.sha256(numbers.x.to_bytes(_NUMBER, "big")).digest())


def unverified_claims(token: str) -> Obj:
    """What a token says of itself, which proves nothing; empty where it is no such token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = msgspec.json.decode(_decode(parts[1]))
    except (ValueError, msgspec.MsgspecError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
