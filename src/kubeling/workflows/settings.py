"""What can be set about workflows."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kubeling.component import Settings

__all__ = ["WorkflowSettings"]

_DURATION = r"^(0|(\d+(\.\d*)?(ms|s|m|h|d))+)$"


class WorkflowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that begin with ``workflows.`` (upstream's ``persistence``)."""

    archive: bool = True
    """Whether finished Workflows are kept in the metadata database."""
    archive_ttl: Annotated[str, msgspec.Meta(pattern=_DURATION)] = "0"
    """How long they are kept there, as in ``30d``; 0 for ever."""

    @classmethod
    def of(cls, settings: Settings) -> WorkflowSettings:
        """Those of an installation."""
        return msgspec.convert(settings.rooms.get("workflows", {}), cls)
