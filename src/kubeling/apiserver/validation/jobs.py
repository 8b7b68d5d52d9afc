"""Rules of what ends: Jobs, and the CronJobs that begin them."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.validation.jobpolicies import pod_failure_policy, success_policy
from kubeling.apiserver.validation.pod import pod_template
from kubeling.apiserver.validation.rules import (
    IMMUTABLE,
    Checks,
    Errors,
    at_least,
    choice,
    dns_label,
    frozen,
    required,
    spec_of,
)
from kubeling.kube.cron import ScheduleError, parse_schedule
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["JOB_RULES"]

_COUNTS: Final = (
    "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_FROZEN: Final = (
    "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy",
)  # fmt: skip
_MOST_PARALLEL: Final = 100_000
_MANY: Final = 100_000
_MOST_OF_MANY: Final = 10_000
_LONGEST_MANAGER: Final = 63
_CRON_NAME: Final = 52


def _job(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    yield from _job_spec(spec, "spec")
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        host = f"{(new.get('metadata') or {}).get('name', '')}-{completions - 1}"
        for error in dns_label(host, "metadata.name"):
            message = f"will not able to create pod with invalid DNS label: {host}"
            yield FieldError(error.path, "Invalid value", message, host)
            break
    if old is not None:
        yield from _job_update(spec, spec_of(old))


def _job_spec(spec: Obj, path: str) -> Errors:
    yield from at_least(spec, path, *_COUNTS)
    yield from choice(spec, path, "completionMode", ("Indexed", "NonIndexed"))
    indexed = spec.get("completionMode") == "Indexed"
    yield from _indexes(spec, path) if indexed else _without_indexes(spec, path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        message = "when maxFailedIndexes is specified"
        yield FieldError(f"{path}.backoffLimitPerIndex", "Required value", message)
    yield from _managed_by(spec, path)
    template = spec.get("template") or {}
    failing = spec.get("podFailurePolicy")
    policies = ("Failed",) if failing else ("Failed", "TerminatingOrFailed")
    yield from choice(spec, path, "podReplacementPolicy", policies)
    if failing:
        yield from pod_failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") and indexed:
        yield from success_policy(spec, f"{path}.successPolicy")
    policy = spec_of(template).get("restartPolicy")
    where = f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        yield FieldError(where, "Required value", 'valid values: "OnFailure", "Never"')
    elif failing and policy == "OnFailure":
        message = 'only "Never" is supported when podFailurePolicy is specified'
        yield FieldError(where, "Invalid value", message, policy)
    yield from pod_template(template, f"{path}.template", ("Always", "OnFailure", "Never"))


def _indexes(spec: Obj, path: str) -> Errors:
    completions = spec.get("completions")
    most, parallelism = spec.get("maxFailedIndexes"), spec.get("parallelism", 1)
    if completions is None:
        message = "when completion mode is Indexed"
        yield FieldError(f"{path}.completions", "Required value", message)
        return
    if parallelism > _MOST_PARALLEL:
        message = f"must be less than or equal to {_MOST_PARALLEL} when completion mode is Indexed"
        yield FieldError(f"{path}.parallelism", "Invalid value", message, parallelism)
    if most is not None and most > completions:
        message = "must be less than or equal to completions"
        yield FieldError(f"{path}.maxFailedIndexes", "Invalid value", message, most)
    if completions > _MANY and spec.get("backoffLimitPerIndex") is not None:
        yield from _many_indexes(spec, path, most, parallelism)


def _many_indexes(spec: Obj, path: str, most: int | None, parallelism: int) -> Errors:
    where = f"when completions are above {_MANY} and used with backoff limit per index"
    if most is None:
        message = f"must be specified when completions is above {_MANY}"
        yield FieldError(f"{path}.maxFailedIndexes", "Required value", message)
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", most)):
        if value is not None and value > _MOST_OF_MANY:
            message = f"must be less than or equal to {_MOST_OF_MANY} {where}"
            yield FieldError(f"{path}.{field}", "Invalid value", message, value)


def _without_indexes(spec: Obj, path: str) -> Errors:
    for field in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"):
        if spec.get(field) is not None:
            message = "requires indexed completion mode"
            yield FieldError(f"{path}.{field}", "Invalid value", message, spec[field])


def _managed_by(spec: Obj, path: str) -> Errors:
    manager = spec.get("managedBy")
    if manager is None:
        return
    domain, slash, rest = manager.partition("/")
    if not (domain and slash and rest):
        message = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield FieldError(f"{path}.managedBy", "Invalid value", message, manager)
    if len(manager) > _LONGEST_MANAGER:
        message = f"may not be more than {_LONGEST_MANAGER} bytes"
        yield FieldError(f"{path}.managedBy", "Too long", message)


def _job_update(new: Obj, old: Obj) -> Errors:
    yield from frozen(new, old, "spec", *_FROZEN)
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
    elif schedule:
        try:
            parse_schedule(schedule)
        except ScheduleError as error:
            yield FieldError("spec.schedule", "Invalid value", str(error), schedule)
    if zone is not None and not _is_time_zone(zone):
        message = f"unknown time zone {zone}"
        yield FieldError("spec.timeZone", "Invalid value", message, zone)


def _is_time_zone(zone: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


JOB_RULES: Final[Checks] = {("batch", "Job"): _job, ("batch", "CronJob"): _cron_job}
