"""Why a model got the runtime it has, or none: each runtime with the reason for and against it.

Users of KServe are surprised by the choice (kserve issues 1992 and 3683): versions are compared as
text, a protocol changes the image, and nothing says what was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubeling.kube.objects import Obj, name
from kubeling.serving.runtimes import (
    RuntimeNotFound,
    fitting_runtimes,
    misfit,
    select_runtime,
)

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the choice made of a runtime."""

    name: str
    kind: str
    chosen: bool
    reason: str


def verdicts(model: Obj, namespaced: Sequence[Obj], cluster: Sequence[Obj]) -> list[Verdict]:
    """All runtimes: the chosen one first, then those that fit, then the others."""
    try:
        chosen = select_runtime(model, namespaced, cluster)
    except RuntimeNotFound:
        chosen = None
    picked = (chosen.name, chosen.kind) if chosen else None
    fitting = [*fitting_runtimes(model, namespaced), *fitting_runtimes(model, cluster)]
    rest = [r for r in (*namespaced, *cluster) if r not in fitting]
    found = []
    for runtime in [*fitting, *sorted(rest, key=name)]:
        key = (name(runtime), runtime["kind"])
        reason = chosen.why if chosen and key == picked else _against(runtime, model)
        found.append(Verdict(*key, key == picked, reason))
    return sorted(found, key=lambda verdict: not verdict.chosen)


def _against(runtime: Obj, model: Obj) -> str:
    wanted, protocol = model.get("runtime"), model.get("protocolVersion") or "v1"
    if wanted == name(runtime):
        return misfit(runtime, model, protocol, auto_select=False) or "another one has its name"
    if wanted:
        return f"spec.predictor.model.runtime names {wanted}"
    return misfit(runtime, model, protocol, auto_select=True) or "it fits, and another comes first"
