"""Rules of what ends: Jobs, and the CronJobs that begin them."""

from __future__ import annotations

import re
from typing import Final

from kubeling.apiserver.validation.pod import pod_template
from kubeling.apiserver.validation.rules import (
    IMMUTABLE,
    Checks,
    Errors,
    at_least,
    choice,
    frozen,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["JOB_RULES"]

_COUNTS: Final = (
    "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_CRON_NAME: Final = 52
_MACROS: Final = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)
_EVERY: Final = re.compile(r"@every \d[\d.a-z]*")


def _job(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    yield from _job_spec(spec, "spec")
    if old is not None:
        yield from _job_update(spec, spec_of(old))


def _job_spec(spec: Obj, path: str) -> Errors:
    yield from at_least(spec, path, *_COUNTS)
    yield from choice(spec, path, "completionMode", ("Indexed", "NonIndexed"))
    yield from choice(spec, path, "podReplacementPolicy", ("Failed", "TerminatingOrFailed"))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        message = "when completion mode is Indexed"
        yield FieldError(f"{path}.completions", "Required value", message)
    template = spec.get("template") or {}
    policy = spec_of(template).get("restartPolicy")
    if policy == "Always":
        where = f"{path}.template.spec.restartPolicy"
        yield FieldError(where, "Required value", 'valid values: "OnFailure", "Never"')
    yield from pod_template(template, f"{path}.template", ("Always", "OnFailure", "Never"))


def _job_update(new: Obj, old: Obj) -> Errors:
    yield from frozen(new, old, "spec", "completionMode", "podFailurePolicy", "successPolicy")
    if old.get("selector") is not None:
        yield from frozen(new, old, "spec", "selector")
    # An indexed Job may grow as a whole.
    grows = new.get("completionMode") == "Indexed" and (
        new.get("completions") == new.get("parallelism")
    )
    if not grows:
        yield from frozen(new, old, "spec", "completions")
    held = new.get("suspend") or old.get("suspend")
    if not held and old.get("template") != new.get("template"):
        yield FieldError("spec.template", "Invalid value", IMMUTABLE)


def _cron_job(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    name = (new.get("metadata") or {}).get("name", "")
    if len(name) > _CRON_NAME:
        message = f"must be no more than {_CRON_NAME} characters"
        yield FieldError("metadata.name", "Invalid value", message, name)
    yield from required(spec, "spec", "schedule")
    yield from choice(spec, "spec", "concurrencyPolicy", ("Allow", "Forbid", "Replace"))
    counts = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    yield from at_least(spec, "spec", *counts)
    yield from _schedule(spec)
    job = spec_of(spec.get("jobTemplate"))
    yield from _job_spec(job, "spec.jobTemplate.spec")


def _schedule(spec: Obj) -> Errors:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if "TZ=" in schedule:
        message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield FieldError("spec.schedule", "Invalid value", message, schedule)
    elif schedule and not _is_schedule(schedule):
        message = "is not a cron schedule: five fields or a macro such as @hourly are expected"
        yield FieldError("spec.schedule", "Invalid value", message, schedule)
    if zone is not None and not _is_time_zone(zone):
        message = f"unknown time zone {zone}"
        yield FieldError("spec.timeZone", "Invalid value", message, zone)


def _is_schedule(schedule: str) -> bool:
    if schedule.startswith("@"):
        return schedule in _MACROS or _EVERY.fullmatch(schedule) is not None
    from croniter import croniter

    # A sixth field, seconds, is an extension: no cluster has it.
    return len(schedule.split()) in (5, 6) and croniter.is_valid(schedule)


def _is_time_zone(zone: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


JOB_RULES: Final[Checks] = {("batch", "Job"): _job, ("batch", "CronJob"): _cron_job}
