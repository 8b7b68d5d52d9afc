"""Rules of certificate requests (``pkg/apis/certificates/validation``)."""

from __future__ import annotations

import re
from typing import Final

from kubeling.apiserver.validation.rules import Checks, Errors, required
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["CERTIFICATE_RULES"]

_LEAST_SECONDS: Final = 600
_USAGES: Final = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign",
    "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth",
    "signing", "timestamping",
)  # fmt: skip
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _request(new: Obj, old: Obj | None) -> Errors:
    if old is not None:
        return
    spec = new.get("spec") or {}
    yield from _text(spec)
    yield from required(spec, "spec", "usages")
    usages = spec.get("usages") or []
    for index, usage in enumerate(usages):
        path = f"spec.usages[{index}]"
        if usage not in _USAGES:
            listed = ", ".join(f'"{known}"' for known in _USAGES)
            yield FieldError(path, "Unsupported value", f"supported values: {listed}", usage)
        if usage in usages[:index]:
            yield FieldError(path, "Duplicate value", "", usage)
    yield from _signer(spec.get("signerName") or "")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _LEAST_SECONDS:
        message = "may not specify a duration less than 600 seconds (10 minutes)"
        yield FieldError("spec.expirationSeconds", "Invalid value", message, seconds)


def _text(spec: Obj) -> Errors:
    from kubeling.apiserver.certificates.request import RequestError, parse

    path, text = "spec.request", spec.get("request") or ""
    try:
        if not parse(spec).is_signature_valid:
            yield FieldError(path, "Invalid value", "the signature is not of the key", text)
    except RequestError as error:
        yield FieldError(path, "Invalid value", str(error), text)


def _signer(name: str) -> Errors:
    path = "spec.signerName"
    domain, slash, rest = name.partition("/")
    if not name:
        yield FieldError(path, "Required value", "")
    elif name == "kubernetes.io/legacy-unknown":
        message = "the legacy signerName is not allowed via this API version"
        yield FieldError(path, "Invalid value", message, name)
    elif not slash or not rest or "/" in rest:
        message = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        yield FieldError(path, "Invalid value", message, name)
    elif not _DOMAIN.fullmatch(domain) or "." not in domain:
        message = f'domain "{domain}" should be a domain with at least two segments'
        yield FieldError(path, "Invalid value", message, name)
    elif not _DOMAIN.fullmatch(rest):
        message = "the path has to be a lowercase RFC 1123 subdomain"
        yield FieldError(path, "Invalid value", message, name)


CERTIFICATE_RULES: Final[Checks] = {
    ("certificates.k8s.io", "CertificateSigningRequest"): _request,
}
