"""What a pod is called, and the names it knows without asking: its host name and ``/etc/hosts``.

As the kubelet has them (``pkg/kubelet/kubelet_pods.go``). Pure.
"""

from __future__ import annotations

from typing import Final

from kubeling.engine.podspec import spec
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["HostNameError", "host_name", "hosts_file"]

_MAX_NAME: Final = 63
_MAX_FULL: Final = 64
_HEAD: Final = "# Kubernetes-managed hosts file"
_LOCAL: Final = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "fe00::\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


class HostNameError(Exception):
    """A name that the kernel does not take."""


def host_name(pod: Obj, domain: str, machine: str) -> str:
    """The name that ``hostname`` shows; ``machine`` is that of pods on the machine's network."""
    wanted = spec(pod)
    if override := wanted.get("hostnameOverride"):
        return str(override)
    if wanted.get("hostNetwork"):
        return machine
    full = _full_name(pod, domain)
    if not full or not wanted.get("setHostnameAsFQDN"):
        return _short_name(pod)
    if len(full) > _MAX_FULL:
        raise HostNameError(
            f"Failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too "
            f"long ({_MAX_FULL} characters is the max, {len(full)} characters requested)"
        )
    return full


def hosts_file(pod: Obj, address: str, domain: str, machine: str) -> str:
    """The text of ``/etc/hosts``; ``machine`` is the text of the machine's own."""
    if spec(pod).get("hostNetwork"):
        lines = [f"{_HEAD} (host network).", *machine.splitlines()]
    else:
        names = [_short_name(pod)]
        if full := _full_name(pod, domain):
            # The middle one is not the kubelet's. A pod may ask for it before the Service has the
            # pod, which starts faster here than there: mpirun then takes itself for another host.
            names = [full, f"{_short_name(pod)}.{spec(pod)['subdomain']}", _short_name(pod)]
        lines = [f"{_HEAD}.", *_LOCAL]
        if address:
            lines.append("\t".join([address, *names]))
    aliases = spec(pod).get("hostAliases") or []
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias["ip"], *alias.get("hostnames", ())]) for alias in aliases]
    return "\n".join(lines) + "\n"


def _short_name(pod: Obj) -> str:
    return str(spec(pod).get("hostname") or name(pod))[:_MAX_NAME].rstrip("-.")


def _full_name(pod: Obj, domain: str) -> str:
    subdomain = spec(pod).get("subdomain")
    return f"{_short_name(pod)}.{subdomain}.{namespace(pod)}.svc.{domain}" if subdomain else ""
