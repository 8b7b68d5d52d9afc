"""What can be set about pipelines.

Settings of ``kubeling up`` are named ``pipelines.…``; where one is not set there, the variable by
which upstream's servers are configured counts, so that a deployment made for them keeps its ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

__all__ = ["PipelineSettings", "Retention", "pipeline_settings"]

_UPSTREAM: Final = {
    "multi_user": "MULTIUSER",
    "shared_read": "MULTIUSER_SHARED_READ",
    "user_id_header": "KUBEFLOW_USERID_HEADER",
    "user_id_prefix": "KUBEFLOW_USERID_PREFIX",
    "cron_timezone": "CRON_SCHEDULE_TIMEZONE",
    "archive_runs_after": "RUNS_RETENTION_TIME",
    "delete_archived_runs_after": "ARCHIVED_RUNS_RETENTION_TIME",
    "collection_interval": "RUNS_GC_INTERVAL",
    "collection_batch": "RUNS_GC_BATCH_SIZE",
    "cache_enabled": "CACHEENABLED",
    "max_cache_staleness": "MAXIMUM_CACHE_STALENESS",
}
Duration = Annotated[str, msgspec.Meta(pattern=r"^((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d))*$")]


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ended runs are archived or deleted.

    A run is meant when it is in the namespace and the experiment (by name), has one of the states,
    ended longer ago than ``max_age``, and is not among the ``keep_last`` latest of its experiment
    that the policy means. What is left out leaves nothing out.
    """

    namespace: str = ""
    experiment: str = ""
    states: tuple[Literal["SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"], ...] = ()
    archived: bool | None = None
    max_age: Duration = ""
    keep_last: Annotated[int, msgspec.Meta(ge=0)] = 0
    action: Literal["archive", "delete"] = "delete"

    def __post_init__(self) -> None:
        if not self.max_age and not self.keep_last:
            raise ValueError("max_age or keep_last is required: it would mean every run otherwise")


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, with what holds where nothing is set: one user, nothing collected."""

    multi_user: bool = False
    """Whether requests are judged by who asks, as the profile's roles say."""
    shared_read: bool = False
    """With many users: whether everybody may read everything."""
    user_id_header: str = "kubeflow-userid"
    """The header in which the front door says who asks."""
    user_id_prefix: str = ""
    """What stands before the name in that header."""
    cron_timezone: str = ""
    """The zone in which cron expressions count."""
    archive_runs_after: Duration = ""
    """How long after their end runs are archived."""
    delete_archived_runs_after: Duration = ""
    """How long after their end archived runs are deleted."""
    retention: tuple[Retention, ...] = ()
    """More policies."""
    delete_pods_after: Duration = ""
    """How long after the end of their run the pods of steps are deleted; their logs are kept."""
    collect_artifacts: bool = False
    """Whether files go with the last run that made or used them."""
    cache_enabled: bool = True
    """Whether any task may take the outputs of an earlier one."""
    max_cache_staleness: Annotated[str, msgspec.Meta(pattern=r"^(P[0-9WDTHMS]+)?$")] = ""
    """How old such outputs may be, as ``P30D``; namespaces, runs and tasks may say less."""
    store_patience: Duration = "2m"
    """How long tasks wait for an object store or web server that does not answer."""
    collection_interval: Duration = "6h"
    """How often runs are collected."""
    collection_batch: Annotated[int, msgspec.Meta(ge=1)] = 100
    """How many runs are collected in one transaction."""

    @property
    def cache_age(self) -> str:
        """The limit on the age of cached outputs, ``P0D`` for none at all."""
        return self.max_cache_staleness if self.cache_enabled else "P0D"

    @property
    def policies(self) -> tuple[Retention, ...]:
        """All policies, upstream's two first."""
        found = list(self.retention)
        if self.delete_archived_runs_after:
            found.insert(0, Retention(archived=True, max_age=self.delete_archived_runs_after))
        if self.archive_runs_after:
            age = self.archive_runs_after
            found.insert(0, Retention(archived=False, max_age=age, action="archive"))
        return tuple(found)


def pipeline_settings(given: Mapping[str, Any], environ: Mapping[str, str]) -> PipelineSettings:
    """What was set, else what upstream's variables say, else the defaults.

    Raises :class:`msgspec.ValidationError` for a variable that makes no sense.
    """
    found: dict[str, Any] = {
        name: environ[key] for name, key in _UPSTREAM.items() if environ.get(key)
    }
    return msgspec.convert({**found, **given}, PipelineSettings, strict=False)
