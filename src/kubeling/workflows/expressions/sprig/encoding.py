"""Sprig's functions of encodings, hashes and ciphers."""

from __future__ import annotations

import base64
import hashlib
import secrets
import zlib
from collections.abc import Callable
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.gotext import go_json, parse_json
from kubeling.workflows.expressions.sprig.casts import to_int

__all__ = ["FUNCTIONS"]


def _decoded(decode: Callable[[str], bytes]) -> Callable[[str], str]:
    """What cannot be decoded gives the complaint, as sprig does."""

    def run(text: str) -> str:
        try:
            return decode(text).decode(errors="replace")
        except ValueError as error:
            return f"illegal data: {error}"

    return run


def _from_json(text: str) -> Any:
    try:
        return parse_json(text)
    except ExpressionError:
        return None


def _cipher(password: str, vector: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = hashlib.sha256(password.encode()).digest()
    return Cipher(algorithms.AES(key), modes.CBC(vector))


def _encrypt(password: str, text: str) -> str:
    plain = text.encode()
    padding = 16 - len(plain) % 16
    vector = secrets.token_bytes(16)
    encryptor = _cipher(password, vector).encryptor()
    hidden = encryptor.update(plain + bytes([padding] * padding)) + encryptor.finalize()
    return base64.b64encode(vector + hidden).decode()


def _decrypt(password: str, text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
        decryptor = _cipher(password, raw[:16]).decryptor()
        plain: bytes = decryptor.update(raw[16:]) + decryptor.finalize()
    except ValueError as error:
        raise ExpressionError(f"decryptAES: {error}") from None
    if not plain or not 1 <= plain[-1] <= 16:
        raise ExpressionError("decryptAES: the password is not the one it was encrypted with")
    return plain[: -plain[-1]].decode(errors="replace")


def _hash(name: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(name, text.encode()).hexdigest()


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "b64enc": lambda text: base64.b64encode(text.encode()).decode(),
    "b64dec": _decoded(lambda text: base64.b64decode(text, validate=True)),
    "b32enc": lambda text: base64.b32encode(text.encode()).decode(),
    "b32dec": _decoded(base64.b32decode),
    "sha1sum": _hash("sha1"),
    "sha256sum": _hash("sha256"),
    "sha512sum": _hash("sha512"),
    "adler32sum": lambda text: str(zlib.adler32(text.encode())),
    "fromJson": _from_json,
    "mustFromJson": parse_json,
    "toJson": go_json,
    "mustToJson": go_json,
    "toPrettyJson": lambda value: go_json(value, "  "),
    "mustToPrettyJson": lambda value: go_json(value, "  "),
    "toRawJson": lambda value: go_json(value, html=False),
    "mustToRawJson": lambda value: go_json(value, html=False),
    "encryptAES": _encrypt,
    "decryptAES": _decrypt,
    "randBytes": lambda count: base64.b64encode(secrets.token_bytes(to_int(count))).decode(),
}
