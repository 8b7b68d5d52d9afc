"""Which requests are recorded, and how much of them: ``audit.k8s.io/v1`` ``Policy``.

The first rule that fits decides, and what fits none is not recorded. A level for everything is a
policy of one rule. Upstream: ``apiserver/pkg/audit/policy``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from kubeling.apiserver.audit.event import Level, Stage
from kubeling.apiserver.rbac import Attributes
from kubeling.apiserver.settings import SettingsError
from kubeling.apiserver.user import User
from kubeling.kube import yaml

__all__ = ["AuditPolicy", "Recording", "policy_of_level", "read_policy"]

_VERSION: Final = "audit.k8s.io/v1"


class Recording(NamedTuple):
    """What is recorded of a request."""

    level: Level = "None"
    omit_stages: frozenset[Stage] = frozenset()
    omit_managed_fields: bool = False


class _Struct(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class GroupResources(_Struct):
    """Resources of one group; without any, all of them."""

    group: str = ""
    resources: list[str] = []
    resource_names: list[str] = []

    def fits(self, wanted: Attributes) -> bool:
        """Whether the request is about one of them."""
        if self.group not in (wanted.group, "*"):
            return False
        if not self.resources:
            return True
        if self.resource_names and wanted.name not in self.resource_names:
            return False
        spelled = {"*", wanted.full_resource, f"{wanted.resource}/*"}
        if wanted.subresource:
            spelled.add(f"*/{wanted.subresource}")
        return not spelled.isdisjoint(self.resources)


class PolicyRule(_Struct):
    """One rule: whatever it does not name, it does not ask about."""

    level: Level
    users: list[str] = []
    user_groups: list[str] = []
    verbs: list[str] = []
    resources: list[GroupResources] = []
    namespaces: list[str] = []
    non_resource_urls: list[str] = msgspec.field(default_factory=list, name="nonResourceURLs")
    omit_stages: list[Stage] = []
    omit_managed_fields: bool | None = None

    def fits(self, user: User | None, wanted: Attributes) -> bool:
        """Whether the rule is about the request of a user; ``None`` is nobody known."""
        groups: Collection[str] = user.groups if user else ()
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.user_groups and set(self.user_groups).isdisjoint(groups):
            return False
        if self.verbs and wanted.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return not wanted.path and self._fits_resource(wanted)
        if self.non_resource_urls:
            return bool(wanted.path) and any(_fits(wanted.path, u) for u in self.non_resource_urls)
        return True

    def _fits_resource(self, wanted: Attributes) -> bool:
        if self.namespaces and wanted.namespace not in self.namespaces:
            return False
        return not self.resources or any(entry.fits(wanted) for entry in self.resources)


class _Metadata(msgspec.Struct):
    name: str = ""


class AuditPolicy(_Struct, dict=True):
    """The whole file."""

    rules: list[PolicyRule]
    api_version: str = _VERSION
    kind: Literal["Policy"] = "Policy"
    metadata: _Metadata | None = None
    omit_stages: list[Stage] = []
    omit_managed_fields: bool = False

    def recording(self, user: User | None, wanted: Attributes) -> Recording:
        """What is recorded of a request."""
        for rule, recording in self._recordings:
            if rule.fits(user, wanted):
                return recording
        return Recording()

    @cached_property
    def _recordings(self) -> list[tuple[PolicyRule, Recording]]:
        return [
            (
                rule,
                Recording(
                    rule.level,
                    frozenset([*self.omit_stages, *rule.omit_stages]),
                    self.omit_managed_fields
                    if rule.omit_managed_fields is None
                    else rule.omit_managed_fields,
                ),
            )
            for rule in self.rules
        ]


def policy_of_level(level: Level) -> AuditPolicy:
    """One level for everything."""
    return AuditPolicy(rules=[PolicyRule(level=level)])


def read_policy(path: Path) -> AuditPolicy:
    """The policy in a file; raises :class:`SettingsError`."""
    try:
        found = msgspec.convert(yaml.load(path.read_text()), AuditPolicy)
    except OSError as error:
        raise SettingsError(f"api.audit_policy_file: {path}: {error.strerror}") from None
    except (ValueError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from None
    if found.api_version != _VERSION:
        raise SettingsError(f"{path}: apiVersion is {found.api_version}: it should be {_VERSION}")
    for wrong in _faults(found):
        raise SettingsError(f"{path}: {wrong}")
    return found


def _faults(policy: AuditPolicy) -> Iterator[str]:
    for index, rule in enumerate(policy.rules):
        path = f"rules[{index}]"
        for url in rule.non_resource_urls:
            if url != "*" and not url.startswith("/"):
                yield f"{path}.nonResourceURLs: {url} has to begin with /"
            if "*" in url[:-1]:
                yield f"{path}.nonResourceURLs: in {url}, * has to be the last character"
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            yield (
                f"{path}.nonResourceURLs: rules cannot apply to both regular resources and "
                "non-resource URLs"
            )
        for entry in rule.resources:
            if entry.resource_names and not entry.resources:
                yield f"{path}.resources: using resourceNames requires at least one resource"
            if "/" in entry.group:
                yield f"{path}.resources: {entry.group} is not a group: leave out the version"


def _fits(path: str, pattern: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))
