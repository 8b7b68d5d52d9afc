"""The kubeconfig that lets kubectl and the SDKs in."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from kubeling.apiserver.tls import Identity
from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["write_kubeconfig"]


def write_kubeconfig(
    path: Path, server: str, authority: str, identity: Identity, name: str = "kubeling"
) -> None:
    """Writes a kubeconfig whose holder is the administrator; only its owner may read it."""
    document: Obj = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _base64(authority.encode()),
                },
            }
        ],
        "users": [
            {
                "name": f"{name}-admin",
                "user": {
                    "client-certificate-data": _base64(identity.certificate.read_bytes()),
                    "client-key-data": _base64(identity.key.read_bytes()),
                },
            }
        ],
        "contexts": [
            {
                "name": name,
                "context": {"cluster": name, "user": f"{name}-admin", "namespace": "default"},
            }
        ],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(yaml.dump(document))
    temporary.replace(path)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
