"""The server's own certificate authority, and the certificates it gives out.

Everything lives in one private folder of the data directory and is made once. The library that
makes certificates takes longer to import than the rest of a start, so what the files hold is also
noted in a small index, and a start that finds all in order never imports it.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Authority", "Identity"]

_AUTHORITY_YEARS: Final = 10
_LEAF_DAYS: Final = 365
_RENEW_DAYS: Final = 30
_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class _Leaf(msgspec.Struct):
    """What the index knows of one certificate."""

    expires: dt.datetime
    names: list[str] = []


class Authority:
    """A certificate authority kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index_file = folder / "index.json"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.certificate_file = folder / "ca.crt"
        if not self.certificate_file.exists():
            self._create()

    @cached_property
    def certificate(self) -> str:
        """The authority's certificate, for clients to trust."""
        return self.certificate_file.read_text()

    def server(self, host: str, now: dt.datetime, more: Sequence[str] = ()) -> Identity:
        """The serving certificate for an address and the names of the service in the cluster."""
        names = sorted({*_NAMES, *_addresses(host), *more})
        return self._leaf("server", "kubeling", (), names, now)

    def client(self, user: str, groups: Sequence[str], now: dt.datetime) -> Identity:
        """A certificate that makes its holder the given user."""
        return self._leaf(user.replace(":", "-"), user, groups, [], now)

    def server_context(
        self, host: str, now: dt.datetime, more: Sequence[str] = ()
    ) -> ssl.SSLContext:
        """TLS for the server: its certificate, and clients' checked where they have one.

        ``more`` are other names it is reached by.
        """
        identity = self.server(host, now, more)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(identity.certificate, identity.key)
        context.load_verify_locations(self.certificate_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def signing_key(self, name: str) -> EllipticCurvePrivateKey:
        """A key for signatures of our own (service account tokens), made on first use."""
        from cryptography.hazmat.primitives.asymmetric import ec

        path = self._folder / f"{name}.key"
        if not path.exists():
            _write_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
        return _load_key(path)

    def sign(self, make: Callable[[x509.Certificate], x509.CertificateBuilder]) -> bytes:
        """A certificate (PEM) of what ``make`` says, which is shown the authority's own."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        issuer = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        signer = _load_key(self._folder / "ca.key")
        builder = (
            make(issuer)
            .issuer_name(issuer.subject)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        return _pem_certificate(builder.sign(signer, hashes.SHA256()))

    def _leaf(
        self, file: str, user: str, groups: Sequence[str], names: list[str], now: dt.datetime
    ) -> Identity:
        identity = Identity(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        index = self._index()
        known = index.get(file)
        fresh = known is not None and known.expires > now + dt.timedelta(days=_RENEW_DAYS)
        covers = known is not None and set(names) <= set(known.names)
        if not (fresh and covers and identity.certificate.exists() and identity.key.exists()):
            expires = now + dt.timedelta(days=_LEAF_DAYS)
            self._issue(identity, user, groups, names, now, expires)
            index[file] = _Leaf(expires, names)
            _write_private(self._index_file, msgspec.json.encode(index))
        return identity

    def _index(self) -> dict[str, _Leaf]:
        try:
            return msgspec.json.decode(self._index_file.read_bytes(), type=dict[str, _Leaf])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def _create(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        name = _subject("kubeling-ca", ())
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=365 * _AUTHORITY_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_private(self._folder / "ca.key", _pem(key))
        _write_private(self.certificate_file, _pem_certificate(certificate))

    def _issue(
        self,
        identity: Identity,
        user: str,
        groups: Sequence[str],
        names: Sequence[str],
        now: dt.datetime,
        expires: dt.datetime,
    ) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(user, groups))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        _write_private(identity.key, _pem(key))
        _write_private(identity.certificate, self.sign(lambda _: builder))


def _addresses(host: str) -> list[str]:
    """The names a server bound to ``host`` is reached by."""
    if host not in ("", "0.0.0.0", "::"):
        return [host]
    import socket

    name = socket.gethostname()
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return [name, *(address for address in found if "%" not in address)]


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    import ipaddress

    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError(f"{path} does not hold an elliptic-curve key: remove it to make a new one")
    return key


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem_certificate(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _write_private(path: Path, content: bytes) -> None:
    """Writes a file only its owner may read, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)
