"""Rows of artifacts, of who made and who used them, and of metrics. Pure."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.pipelines.nodes import ArtifactRef, TaskNode, task_id

__all__ = ["Lineage", "lineage_of", "link_id"]

Row = dict[str, Any]
_LINKS: Final = uuid.UUID("b3f4a1c0-6d0e-4f0c-9d55-4c1f3a1d7e02")
_METRICS: Final = frozenset({"system.Metrics"})


@dataclass(slots=True)
class Lineage:
    """Rows to be inserted where they are not there yet."""

    artifacts: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)


def lineage_of(run_id: str, namespace: str, nodes: Iterable[TaskNode], now: dt.datetime) -> Lineage:
    """What the ended tasks among the nodes made and used."""
    found = Lineage()
    for node in nodes:
        if node.kind not in ("container", "importer") or not node.final:
            continue
        own = task_id(run_id, node.path)
        for direction, side in (("INPUT", node.inputs), ("OUTPUT", node.outputs)):
            for key, artifacts in side.artifacts.items():
                for artifact in artifacts:
                    found.artifacts.append(_artifact(artifact, namespace, now))
                    found.events.append(
                        {
                            "artifact_id": artifact.id,
                            "task_id": own,
                            "direction": direction,
                            "key": key,
                            "run_id": run_id,
                            "artifact_task_id": link_id(artifact.id, own, direction, key),
                        }
                    )
        for artifacts in node.outputs.artifacts.values():
            for artifact in artifacts:
                found.metrics += _metrics(artifact, run_id, own)
    return found


def link_id(artifact: int, task: str, direction: str, key: str) -> str:
    """The id of the fact that a task made or used an artifact, the same however often noted."""
    return str(uuid.uuid5(_LINKS, f"{artifact}/{task}/{direction}/{key}"))


def _artifact(artifact: ArtifactRef, namespace: str, now: dt.datetime) -> Row:
    return {
        "artifact_id": artifact.id,
        "namespace": namespace,
        "name": artifact.name[:255],
        "type": artifact.type,
        "uri": artifact.uri,
        "digest": artifact.digest,
        "metadata": artifact.metadata,
        "created_at": now.replace(tzinfo=None),
    }


def _metrics(artifact: ArtifactRef, run_id: str, own: str) -> list[Row]:
    if artifact.type not in _METRICS:
        return []
    return [
        {
            "run_id": run_id,
            "task_id": own,
            "artifact_id": artifact.id,
            "name": name[:255],
            "value": float(value),
        }
        for name, value in artifact.metadata.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
