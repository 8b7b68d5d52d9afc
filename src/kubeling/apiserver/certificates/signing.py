"""The signers of the cluster: they sign what is approved, and old requests are cleared away.

All use the server's own authority, so a certificate of ``kubernetes.io/kube-apiserver-client``
makes its holder a user of the API. Upstream: ``pkg/controller/certificates``.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from kubeling.apiserver.certificates.request import (
    CSR,
    SIGNERS,
    conditions,
    parse,
    signer_fault,
)
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.tls import Authority
from kubeling.apiserver.upkeep import Upkeep
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, format_time, parse_time

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["CertificateSigning"]

_TASK: Final = "certificate"
_SIGNER_NAMES: Final = frozenset(f"kubernetes.io/{name}" for name in SIGNERS)
_MOST: Final = dt.timedelta(days=365)
_LEAST: Final = dt.timedelta(minutes=10)
_BACKDATED: Final = dt.timedelta(minutes=5)
_SHORT: Final = dt.timedelta(hours=8)
_HOUR: Final = dt.timedelta(hours=1)
_DAY: Final = dt.timedelta(days=1)
_KEY_USAGES: Final = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
}
_PURPOSES: Final = {"client auth": "CLIENT_AUTH", "server auth": "SERVER_AUTH"}


class CertificateSigning:
    """Signs as soon as a request is approved."""

    def __init__(self, registry: Registry, authority: Authority, upkeep: Upkeep) -> None:
        self._registry = registry
        self._authority = authority
        self._upkeep = upkeep
        upkeep.also(_TASK, self._sign)
        registry.store.subscribe(CSR, self._follow)

    async def expire(self) -> None:
        """Deletes requests that were settled, or left alone, long enough."""
        now, served = self._registry.clock.now(), self._registry.catalog.of_storage(CSR)
        assert served is not None
        for record in self._registry.store.list(CSR):
            if _is_over(record.obj, now):
                try:
                    await self._registry.delete(served, "", record.key.name, DeleteOptions())
                except NotFound:
                    continue

    def _follow(self, event: Event) -> None:
        if event.type != "DELETED" and _waits(event.record.obj):
            self._upkeep.ask(_TASK, event.record.key.name)

    async def _sign(self, name: str) -> None:
        record = self._registry.store.get(StoreKey(CSR, "", name))
        served = self._registry.catalog.of_storage(CSR)
        if record is None or served is None or not _waits(record.obj):
            return
        spec = record.obj["spec"]
        request, now = parse(spec), self._registry.clock.now()
        if fault := signer_fault(spec["signerName"], request, spec["usages"]):
            change = _failed(fault, now)
        else:
            certificate = self._authority.sign(
                lambda issuer: _certificate(request, spec, issuer, now)
            )
            change = _issued(certificate)
        options = WriteOptions(internal=True, subresource="status")
        await self._registry.update(served, "", name, change, options)


def _waits(request: Obj) -> bool:
    """Whether a request is one of ours, approved and neither signed nor refused."""
    return (
        request["spec"].get("signerName") in _SIGNER_NAMES
        and bool(conditions(request, "Approved"))
        and not conditions(request, "Failed")
        and not (request.get("status") or {}).get("certificate")
    )


def _is_over(request: Obj, now: dt.datetime) -> bool:
    status = request.get("status") or {}
    issued = bool(status.get("certificate"))
    if not status.get("conditions"):
        return parse_time(request["metadata"]["creationTimestamp"]) < now - _DAY
    for kind, kept in (
        ("Denied", _HOUR),
        ("Failed", _HOUR),
        ("Approved", _HOUR if issued else _DAY),
    ):
        for condition in conditions(request, kind):
            if (since := condition.get("lastUpdateTime")) and parse_time(since) < now - kept:
                return True
    return False


def _failed(fault: str, now: dt.datetime) -> Callable[[Obj], Obj]:
    def transform(request: Obj) -> Obj:
        status = request.get("status") or {}
        failed = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": fault,
            "lastUpdateTime": format_time(now),
        }
        return {
            **request,
            "status": {**status, "conditions": [*(status.get("conditions") or ()), failed]},
        }

    return transform


def _issued(certificate: bytes) -> Callable[[Obj], Obj]:
    encoded = base64.b64encode(certificate).decode()
    return lambda request: {
        **request,
        "status": {**(request.get("status") or {}), "certificate": encoded},
    }


def _lifetime(spec: Obj) -> dt.timedelta:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return _MOST
    return min(max(dt.timedelta(seconds=seconds), _LEAST), _MOST)


def _certificate(
    request: x509.CertificateSigningRequest,
    spec: Obj,
    issuer: x509.Certificate,
    now: dt.datetime,
) -> x509.CertificateBuilder:
    """What is signed: subject and names as asked for, usages as approved."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    lifetime = _lifetime(spec)
    expires = now + (lifetime if lifetime < _SHORT else lifetime - _BACKDATED)
    wanted = spec["usages"]
    usages: dict[str, Any] = dict.fromkeys(set(_KEY_USAGES.values()), False)
    usages |= {_KEY_USAGES[usage]: True for usage in wanted if usage in _KEY_USAGES}
    no: dict[str, Any] = dict.fromkeys(
        ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False
    )
    purposes = [
        getattr(ExtendedKeyUsageOID, _PURPOSES[usage]) for usage in wanted if usage in _PURPOSES
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(min(expires, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    )
    if any(usages.values()):
        builder = builder.add_extension(x509.KeyUsage(**usages, **no), critical=True)
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return builder
    return builder.add_extension(names.value, critical=names.critical)
