"""How long a Workflow and its nodes took, to say how long the next will take."""

from __future__ import annotations

from dataclasses import dataclass, field

from kubeling.kube.objects import Obj, name, parse_time

__all__ = ["Estimates"]


@dataclass(frozen=True, slots=True)
class Estimates:
    """Seconds, of the Workflow and of its nodes by their names after the Workflow's own."""

    workflow: int = 0
    nodes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, workflow: Obj) -> Estimates:
        """What a Workflow took."""
        status = workflow["status"]
        own = name(workflow)
        took = {
            node["name"].removeprefix(own): seconds
            for node in (status.get("nodes") or {}).values()
            if (seconds := _seconds(node))
        }
        return cls(_seconds(status), took)


def _seconds(timed: Obj) -> int:
    if not (timed.get("startedAt") and timed.get("finishedAt")):
        return 0
    return int((parse_time(timed["finishedAt"]) - parse_time(timed["startedAt"])).total_seconds())
