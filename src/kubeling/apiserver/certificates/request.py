"""What a certificate request asks for: its PEM text read, and the rules of each signer; pure.

Upstream: ``pkg/apis/certificates/helpers.go`` and ``pkg/controller/certificates/signer``.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["CSR", "SIGNERS", "RequestError", "conditions", "groups_of", "parse", "signer_fault"]

CSR: Final = "certificates.k8s.io/certificatesigningrequests"
SIGNERS: Final = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
"""The signers that are served here, all of the domain ``kubernetes.io``."""

_DOMAIN: Final = "kubernetes.io/"
_NODES: Final = "system:nodes"
_NODE: Final = "system:node:"
_SIGN: Final = frozenset({"digital signature"})
_ENCIPHER: Final = frozenset({"key encipherment"})


class RequestError(Exception):
    """The text is no certificate request."""


def parse(spec: Obj) -> x509.CertificateSigningRequest:
    """The request in ``spec.request``; raises :class:`RequestError`."""
    from cryptography import x509

    try:
        text = base64.b64decode(spec.get("request") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise RequestError("it is not base64") from None
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in text:
        raise RequestError("PEM block type must be CERTIFICATE REQUEST")
    try:
        return x509.load_pem_x509_csr(text)
    except (ValueError, TypeError) as error:
        raise RequestError(str(error) or "the request cannot be read") from None


def groups_of(request: x509.CertificateSigningRequest) -> list[str]:
    """The organizations of the subject, which are groups to the API server."""
    from cryptography.x509.oid import NameOID

    return _values(request.subject, NameOID.ORGANIZATION_NAME)


def signer_fault(signer: str, request: x509.CertificateSigningRequest, usages: list[str]) -> str:
    """Why a signer of the cluster cannot sign a request; empty where it can."""
    wanted = frozenset(usages)
    match signer.removeprefix(_DOMAIN):
        case "kube-apiserver-client":
            return _client_fault(usages)
        case "kube-apiserver-client-kubelet":
            return _node_fault(request, wanted, "client auth", ("DNS", "Email", "IP", "URI"))
        case _:
            return _node_fault(request, wanted, "server auth", ("Email", "URI"))


def conditions(request: Obj, kind: str) -> list[Obj]:
    """The conditions of one type."""
    listed: list[Obj] = (request.get("status") or {}).get("conditions") or []
    return [condition for condition in listed if condition.get("type") == kind]


def _client_fault(usages: list[str]) -> str:
    for usage in usages:
        if usage not in (*_SIGN, *_ENCIPHER, "client auth"):
            return f"invalid usage for client certificate: {usage}"
    if "client auth" not in usages:
        return "missing required usage for client certificate: client auth"
    return ""


def _node_fault(
    request: x509.CertificateSigningRequest,
    usages: frozenset[str],
    purpose: str,
    forbidden: tuple[str, ...],
) -> str:
    from cryptography.x509.oid import NameOID

    names = _names(request)
    if groups_of(request) != [_NODES]:
        return "subject organization is not system:nodes"
    if purpose == "server auth" and not names["DNS"] and not names["IP"]:
        return "DNS or IP subjectAltName is required"
    for kind in forbidden:
        if names[kind]:
            return f"{kind} subjectAltNames are not allowed"
    least = _SIGN | {purpose}
    if usages not in (least, least | _ENCIPHER):
        return f"usages did not match [{' '.join(sorted(least | _ENCIPHER))}]"
    if not any(name.startswith(_NODE) for name in _values(request.subject, NameOID.COMMON_NAME)):
        return "subject common name does not begin with system:node:"
    return ""


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]


def _names(request: x509.CertificateSigningRequest) -> dict[str, bool]:
    """Which kinds of alternative names a request has."""
    from cryptography import x509

    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return dict.fromkeys(("DNS", "Email", "IP", "URI"), False)
    kinds = {
        "DNS": x509.DNSName,
        "Email": x509.RFC822Name,
        "IP": x509.IPAddress,
        "URI": x509.UniformResourceIdentifier,
    }
    return {key: any(isinstance(name, kind) for name in found) for key, kind in kinds.items()}
