"""The audit log as the settings want it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubeling.apiserver.audit.event import Level
from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.settings import ApiSettings, SettingsError
from kubeling.kube.clock import Clock

if TYPE_CHECKING:
    from kubeling.apiserver.audit.auditor import Auditor

__all__ = ["auditing"]


_LEVELS: Final[Mapping[str, Level]] = {
    "metadata": "Metadata",
    "request": "Request",
    "request-response": "RequestResponse",
}
"""The levels by the names that the settings have for them."""


def auditing(settings: ApiSettings, data_dir: Path, rbac: Rbac, clock: Clock) -> Auditor | None:
    """The auditor, or ``None`` where nothing is to be recorded; raises ``SettingsError``."""
    file, level = settings.audit_policy_file, settings.audit_level
    if file and level != "off":
        raise SettingsError("api.audit_policy_file and api.audit_level exclude each other")
    if not file and level == "off":
        return None
    from kubeling.apiserver.audit.auditor import Auditor
    from kubeling.apiserver.audit.logfile import AuditFile
    from kubeling.apiserver.audit.policy import policy_of_level, read_policy

    policy = read_policy(Path(file)) if file else policy_of_level(_LEVELS[level])
    log = AuditFile(
        settings.audit_log_path or str(data_dir / "audit.log"),
        settings.audit_log_maxsize << 20,
        settings.audit_log_maxbackup,
        clock,
    )
    return Auditor(log, policy, rbac, clock)
