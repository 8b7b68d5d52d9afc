"""What can be set about workflows: upstream's ``workflow-controller-configmap``.

Left out is what one machine has no use for (instances, executors' images, a metrics port) and what
is set elsewhere here: artifact repositories in their ConfigMaps, the metadata database, sign-in.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kubeling.component import Settings

__all__ = ["RateLimit", "Retention", "WorkflowSettings"]

_DURATION = r"^(0|(\d+(\.\d*)?(ms|s|m|h|d))+)$"
_Count = Annotated[int, msgspec.Meta(ge=0)]


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """So many a second, after ``burst`` at once."""

    limit: Annotated[float, msgspec.Meta(gt=0)]
    burst: Annotated[int, msgspec.Meta(ge=1)] = 1


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many ended Workflows stay, by how they ended."""

    completed: _Count | None = None
    failed: _Count | None = None
    errored: _Count | None = None


class WorkflowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that begin with ``workflows.``"""

    archive: bool = True
    """Whether finished Workflows are kept in the metadata database."""
    archive_ttl: Annotated[str, msgspec.Meta(pattern=_DURATION)] = "0"
    """How long they are kept there, as in ``30d``; 0 for ever."""
    parallelism: _Count = 0
    """How many Workflows run at the same time; 0 is as many as there are."""
    namespace_parallelism: _Count = 0
    """The same for each namespace whose label ``parallelism-limit`` does not say otherwise."""
    resource_rate_limit: RateLimit | None = None
    """How fast pods are created."""
    retention_policy: Retention | None = None
    """How many ended Workflows stay; the oldest go first, and stay in the archive."""
    workflow_defaults: dict[str, Any] | None = None
    """What Workflows are given that they, and their templates, do not say: metadata and spec."""

    @classmethod
    def of(cls, settings: Settings) -> WorkflowSettings:
        """Those of an installation."""
        return msgspec.convert(settings.rooms.get("workflows", {}), cls)
