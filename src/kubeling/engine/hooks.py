"""Lifecycle hooks: what is done right after a container's start and right before its end.

As the kubelet does (``pkg/kubelet/lifecycle``): ``exec``, ``httpGet`` and ``sleep``; a
``tcpSocket`` hook is accepted by the API and fails when it is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.engine.probes import ProbeTarget, check
from kubeling.kube.clock import Clock

__all__ = ["hook_of", "run_hook"]


def hook_of(container: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A container's ``postStart`` or ``preStop``; empty if it has none."""
    hook: Mapping[str, Any] = (container.get("lifecycle") or {}).get(kind) or {}
    return hook


async def run_hook(
    hook: Mapping[str, Any], target: ProbeTarget, clock: Clock, seconds: float
) -> str:
    """Runs a hook, if there is one; returns what went wrong."""
    if not hook:
        return ""
    if "sleep" in hook:
        await clock.sleep(float((hook["sleep"] or {}).get("seconds") or 0))
        return ""
    if "tcpSocket" in hook:
        return "invalid handler: hooks can be exec, httpGet or sleep"
    return await check({**hook, "timeoutSeconds": seconds}, target)
