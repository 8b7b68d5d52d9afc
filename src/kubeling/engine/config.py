"""What can be set about the node, with its defaults; printed by ``kubeling config``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kubeling.engine.oci.discovery import EngineChoice
from kubeling.engine.paths import EnginePaths

__all__ = ["EngineConfig"]

_PASSED_ON = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_*", "UV_*",
    "LANG", "LC_ALL", "TZ",
)  # fmt: skip


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded engine's settings."""

    data_dir: Path
    """Where the platform keeps everything; hidden from pods."""

    workspace: Path
    """The folder the platform was started for: containers whose image names no working directory
    start in it, and may write to it, as a program started there by hand could."""

    node_name: str = "kubeling"

    isolation: bool = True
    """Use the walls the system offers. Without, pods are plain processes."""

    pod_networks: bool = True
    """Give each pod an address and ports of its own, where that is possible (Linux, as root)."""

    pod_cidr: str = "10.244.0.0/16"
    """The range in which this instance picks an unused /24 for its pods."""

    cluster_domain: str = "cluster.local"

    dns_server: str = ""
    """Name server of the pods; empty: the machine's own settings."""

    service_cidr: str = ""
    """The addresses of Services; network policies judge them by the pods behind."""

    api_host: str = ""
    """Where pods find the API (``KUBERNETES_SERVICE_HOST``); empty: they are not told."""

    api_port: int = 443

    max_pods: int = 110

    capacity: dict[str, str] = {}
    """Resources beside or instead of those found, e.g. ``{"nvidia.com/gpu": "1"}``."""

    images: dict[str, Any] = {}
    """Image patterns to environments, before the catalogue's own (see ``catalogue.yaml``)."""

    container_engine: EngineChoice = "auto"
    """What runs images outside the catalogue: ``podman``, ``docker``, ``none``, or the first of the
    two that works."""

    environments_max_age_days: float = 30.0
    """How long a prepared environment that no container uses is kept; 0: for ever."""

    environments_max_gib: float = 50.0
    """What all of them may take on disk together before those longest unused go; 0: any amount."""

    warm_python: bool = True
    """Fork Python commands from an interpreter of their environment that is kept for a while once
    the environment was used twice; on Linux, as root. The annotation ``kubeling.io/warm-python:
    "false"`` turns it off for a pod."""

    warm_python_idle_seconds: float = 90.0
    """How long such an interpreter is kept that nothing was forked from."""

    pass_env: tuple[str, ...] = _PASSED_ON
    """Variables of the platform's environment that containers inherit (``*`` at the end)."""

    backoff_base: float = 10.0
    """Seconds before a crashed container's first restart; doubles each time."""

    backoff_max: float = 300.0

    storage_check_seconds: float = 10.0
    """How often the disk use of pods with a limit on it is measured."""

    heartbeat_seconds: float = 60.0
    """How often the node's lease is renewed."""

    @property
    def paths(self) -> EnginePaths:
        return EnginePaths(self.data_dir / "engine")

    @property
    def images_file(self) -> Path:
        """The user's own image entries."""
        return self.data_dir / "images.yaml"
