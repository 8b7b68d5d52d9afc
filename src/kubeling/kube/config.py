"""Where an API server is and how to prove who one is: kubeconfig files and pods' accounts."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["ClusterConfig", "ConfigError", "in_cluster", "load", "load_kubeconfig"]

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The configuration cannot be used; the message says which file and what is missing."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach one API server.

    ``token_file`` is read again for every connection, because projected tokens rotate.
    """

    server: str
    ca_data: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None
    token: str = ""
    token_file: Path | None = None
    insecure: bool = False
    namespace: str = "default"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS settings, or ``None`` for plain HTTP."""
        if not self.server.startswith("https"):
            return None
        authority = self.ca_data.decode() if self.ca_data else None
        context = ssl.create_default_context(cadata=authority)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate and self.client_key:
            _load_identity(context, self.client_certificate, self.client_key)
        return context

    def bearer_token(self) -> str:
        """The token to send, read afresh where it lives in a file."""
        if self.token_file is not None:
            return self.token_file.read_text().strip()
        return self.token


def load(kubeconfig: str | Path | None = None, context: str = "") -> ClusterConfig:
    """The given file, else ``$KUBECONFIG``, else the pod's account, else ``~/.kube/config``."""
    if kubeconfig:
        return load_kubeconfig(Path(kubeconfig), context)
    if named := os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]:
        return load_kubeconfig(Path(named), context)
    if "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").exists():
        return in_cluster()
    return load_kubeconfig(Path.home() / ".kube" / "config", context)


def in_cluster(root: Path = _SERVICE_ACCOUNT) -> ClusterConfig:
    """The API server and service account of the pod this process runs in."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return ClusterConfig(
        server=f"https://{host}:{port}",
        ca_data=(root / "ca.crt").read_bytes(),
        token_file=root / "token",
        namespace=(root / "namespace").read_text().strip() or "default",
    )


def load_kubeconfig(path: Path, context: str = "") -> ClusterConfig:
    """The given, or the current, context of a kubeconfig; raises :class:`ConfigError`."""
    try:
        document = yaml.load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"no kubeconfig at {path}; is the platform up?") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    chosen = _entry(path, document, "contexts", context or document.get("current-context") or "")
    cluster = _entry(path, document, "clusters", chosen["context"].get("cluster", ""))["cluster"]
    user = _entry(path, document, "users", chosen["context"].get("user", "")).get("user") or {}
    if "exec" in user or "auth-provider" in user:
        raise ConfigError(
            f"{path}: exec and auth-provider credentials are not supported; use a token"
        )
    token_file = user.get("tokenFile")
    return ClusterConfig(
        server=cluster["server"].rstrip("/"),
        ca_data=_bytes(path, cluster, "certificate-authority"),
        client_certificate=_bytes(path, user, "client-certificate"),
        client_key=_bytes(path, user, "client-key"),
        token=user.get("token", ""),
        token_file=path.parent / token_file if token_file else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=chosen["context"].get("namespace") or "default",
    )


def _entry(path: Path, document: Any, section: str, name: str) -> Obj:
    for entry in (document or {}).get(section) or ():
        if entry.get("name") == name:
            found: Obj = entry
            return found
    raise ConfigError(f'{path}: no entry "{name}" in {section}')


def _bytes(path: Path, section: Obj, key: str) -> bytes | None:
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data)
    if file := section.get(key):
        return Path(path.parent / file).read_bytes()
    return None


def _load_identity(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module reads certificates from files only.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
