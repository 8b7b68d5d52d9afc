"""The audit log as the settings want it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.settings import ApiSettings
from kubeling.kube.clock import Clock

if TYPE_CHECKING:
    from kubeling.apiserver.audit.auditor import Auditor

__all__ = ["auditing"]


def auditing(settings: ApiSettings, data_dir: Path, rbac: Rbac, clock: Clock) -> Auditor | None:
    """The auditor, or ``None`` where nothing is to be recorded."""
    if settings.audit_level == "off":
        return None
    from kubeling.apiserver.audit.auditor import AUDIT_LEVELS, Auditor
    from kubeling.apiserver.audit.logfile import AuditFile

    file = AuditFile(
        settings.audit_log_path or str(data_dir / "audit.log"),
        settings.audit_log_maxsize << 20,
        settings.audit_log_maxbackup,
        clock,
    )
    return Auditor(file, AUDIT_LEVELS[settings.audit_level], rbac, clock)
