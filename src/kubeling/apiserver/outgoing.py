"""Connections that the server opens to users' services: whom it trusts, and how failures read."""

from __future__ import annotations

import ssl

import aiohttp

__all__ = ["failure_words", "trusting"]


def trusting(ca_bundle: bytes) -> ssl.SSLContext:
    """Trusts the bundle as Go does: any certificate in it will do, also a server's own."""
    if not ca_bundle:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_bundle.decode("ascii"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def failure_words(error: Exception) -> str:
    """What went wrong, in the words of Go's network library where there are some."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"tls: failed to verify certificate: x509: {getattr(cause, 'verify_message', cause)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        why = "connection refused" if error.errno == 111 else error.strerror or str(error)
        return f"dial tcp {error.host}:{error.port}: connect: {why}"
    return str(error) or type(error).__name__
