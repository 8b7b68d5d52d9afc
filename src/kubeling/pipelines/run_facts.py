"""What a run's tasks may know about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubeling.pipelines.caching import CacheRules
from kubeling.pipelines.nodes import TaskNode, task_id
from kubeling.pipelines.workspace import WORKSPACE

__all__ = ["RunFacts"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's tasks may know about it; ``deadline_seconds`` ends it, if it is not zero."""

    run_id: str
    name: str
    namespace: str
    display_name: str
    created_at: str
    scheduled_at: str
    folder: str
    parameters: dict[str, Any] = field(default_factory=dict)
    pipeline_root: str = ""
    deadline_seconds: int = 0
    has_workspace: bool = False
    cache: CacheRules = field(default_factory=CacheRules)
    store_root: str = ""
    """Where artifacts go, if that is a store: the address of the run's part of it."""

    def job(self, node: TaskNode) -> dict[str, str]:
        """Values of the placeholders about the run."""
        return {
            "pipeline_job_name": self.display_name,
            "pipeline_job_resource_name": self.name,
            "pipeline_job_uuid": self.run_id,
            "pipeline_job_create_time_utc": self.created_at,
            "pipeline_job_schedule_time_utc": self.scheduled_at or self.created_at,
            "pipeline_task_name": node.name,
            "pipeline_task_uuid": task_id(self.run_id, node.path),
            "pipeline_root": self.pipeline_root or self.store_root or self.folder,
            "workspace_path": WORKSPACE,
        }
