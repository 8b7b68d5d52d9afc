"""The domain in which a cluster's Services have their names, as its pods' resolvers know it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["DEFAULT_DOMAIN", "cluster_domain", "domain_in"]

DEFAULT_DOMAIN: Final = "cluster.local"
_RESOLVER: Final = Path("/etc/resolv.conf")


def cluster_domain() -> str:
    """That of the pod this process runs in, else Kubernetes' usual one."""
    try:
        text = _RESOLVER.read_text()
    except OSError:
        return DEFAULT_DOMAIN
    return domain_in(text) or DEFAULT_DOMAIN


def domain_in(resolver: str) -> str:
    """The domain of a ``resolv.conf``: kubelets search ``svc.DOMAIN``."""
    for line in reversed(resolver.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word == "search":
            found = (one.removesuffix(".") for one in rest.split())
            return next((one.removeprefix("svc.") for one in found if one.startswith("svc.")), "")
    return ""
