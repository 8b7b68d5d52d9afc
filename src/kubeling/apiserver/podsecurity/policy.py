"""What a namespace's labels ask for (``pod-security.kubernetes.io/…``): pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from kubeling.apiserver.podsecurity.findings import Finding
from kubeling.apiserver.podsecurity.standard import LATEST, LEVELS, Level, findings
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["PREFIX", "Policy", "Wanted", "policy_of"]

PREFIX: Final = "pod-security.kubernetes.io/"
_VERSION: Final = re.compile(r"v1\.(0|[1-9][0-9]*)")


class Wanted(NamedTuple):
    """A level in a version."""

    level: Level = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def violations(self, metadata: Obj, spec: Obj) -> str:
        """What a pod breaks, with details; empty where it may run."""
        return ", ".join(map(str, self._findings(metadata, spec)))

    def reasons(self, metadata: Obj, spec: Obj) -> str:
        """The same without details."""
        return ", ".join(finding.reason for finding in self._findings(metadata, spec))

    def _findings(self, metadata: Obj, spec: Obj) -> list[Finding]:
        match = _VERSION.fullmatch(self.version)
        minor = int(match[1]) if match else LATEST
        return findings(self.level, minor, metadata, spec)


class Policy(NamedTuple):
    """What holds in a namespace, and what is wrong with the labels."""

    enforce: Wanted
    audit: Wanted
    warn: Wanted
    errors: list[FieldError]

    @property
    def is_silent(self) -> bool:
        """Whether nothing has to be looked at."""
        return all(wanted.level == "privileged" for wanted in (self.enforce, self.audit, self.warn))


def policy_of(labels: Mapping[str, str]) -> Policy:
    """The policy that labels describe; what they say wrongly is enforced as ``restricted``."""
    errors: list[FieldError] = []
    wanted = {mode: _wanted(labels, mode, errors) for mode in ("enforce", "audit", "warn")}
    enforce, warn = wanted["enforce"], wanted["warn"]
    if f"{PREFIX}warn" not in labels and labels.get(f"{PREFIX}enforce") in LEVELS:
        # Whoever enforces more than is warned of wants to be warned as well.
        version = warn.version if f"{PREFIX}warn-version" in labels else enforce.version
        if enforce.level != "privileged":
            warn = Wanted(enforce.level, version)
    return Policy(enforce, wanted["audit"], warn, errors)


def _wanted(labels: Mapping[str, str], mode: str, errors: list[FieldError]) -> Wanted:
    level, version = labels.get(f"{PREFIX}{mode}"), labels.get(f"{PREFIX}{mode}-version")
    if level is not None and level not in LEVELS:
        message = f"must be one of {', '.join(LEVELS)}"
        path = f"metadata.labels[{PREFIX}{mode}]"
        errors.append(FieldError(path, "Invalid value", message, level))
        level = "restricted" if mode == "enforce" else "privileged"
    if version is not None and version != "latest" and not _VERSION.fullmatch(version):
        path = f"metadata.labels[{PREFIX}{mode}-version]"
        errors.append(FieldError(path, "Invalid value", 'must be "latest" or "v1.x"', version))
        version = None
    return Wanted(cast(Level, level or "privileged"), version or "latest")
