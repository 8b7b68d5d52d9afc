"""When failed pods make a Job fail: limits on retries, and rules about exit codes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kubeling.kube.objects import Obj, condition, name, namespace

__all__ = ["FailureVerdict", "counts_as_failure", "judge_failures"]


@dataclass(frozen=True, slots=True)
class FailureVerdict:
    """Why the Job fails; without a reason, only the indexes that may not be tried again."""

    reason: str = ""
    message: str = ""
    failed_indexes: frozenset[int] = frozenset()


def judge_failures(
    spec: Obj,
    failed: Sequence[Obj],
    active: Iterable[Obj],
    failed_count: int,
    done_indexes: set[int],
    index_of: Callable[[Obj], int | None],
) -> FailureVerdict | None:
    """What the failed pods mean for the Job."""
    for pod in failed:
        action, rule = _matching_rule(spec, pod)
        if action == "FailJob":
            title = f"{namespace(pod)}/{name(pod)}"
            message = f"Pod {title} matches the FailJob rule at index {rule} of podFailurePolicy"
            return FailureVerdict("PodFailurePolicy", message)
    limit = int(spec.get("backoffLimit", 6))
    ignored = sum(not counts_as_failure(spec, pod) for pod in failed)
    restarts = 0
    if (spec["template"]["spec"].get("restartPolicy")) == "OnFailure":
        restarts = sum(map(_restarts, active))
        if restarts and restarts >= max(limit, 1):
            return _too_many()
    if failed_count - ignored > limit:
        return _too_many()
    per_index = spec.get("backoffLimitPerIndex")
    if per_index is None:
        return None
    return _by_index(spec, failed, int(per_index), done_indexes, index_of)


def counts_as_failure(spec: Obj, pod: Obj) -> bool:
    """Whether a failed pod counts towards the limit: rules may say to ignore it."""
    return _matching_rule(spec, pod)[0] != "Ignore"


def _too_many() -> FailureVerdict:
    message = "Job has reached the specified backoff limit"
    return FailureVerdict("BackoffLimitExceeded", message)


def _by_index(
    spec: Obj,
    failed: Sequence[Obj],
    limit: int,
    done_indexes: set[int],
    index_of: Callable[[Obj], int | None],
) -> FailureVerdict:
    tries = Counter(index_of(pod) for pod in failed if counts_as_failure(spec, pod))
    doomed = {index_of(pod) for pod in failed if _matching_rule(spec, pod)[0] == "FailIndex"}
    over = {index for index, count in tries.items() if count > limit} | doomed
    lost = frozenset(index for index in over if index is not None)
    most = spec.get("maxFailedIndexes")
    if most is not None and len(lost) > int(most):
        message = "Job has exceeded the specified maximal number of failed indexes"
        return FailureVerdict("MaxFailedIndexesExceeded", message, lost)
    if lost and len(lost) + len(done_indexes) >= int(spec.get("completions") or 0):
        return FailureVerdict("FailedIndexes", "Job has failed indexes", lost)
    return FailureVerdict(failed_indexes=lost)


def _matching_rule(spec: Obj, pod: Obj) -> tuple[str, int]:
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        if _matches(rule, pod):
            return str(rule["action"]), number
    return "Count", -1


def _matches(rule: Obj, pod: Obj) -> bool:
    if wanted := rule.get("onExitCodes"):
        return any(
            _code_matches(wanted, code)
            for title, code in _exit_codes(pod)
            if wanted.get("containerName") in (None, title)
        )
    for pattern in rule.get("onPodConditions") or ():
        found = condition(pod, pattern["type"])
        if found is not None and found.status == pattern.get("status", "True"):
            return True
    return False


def _code_matches(wanted: Obj, code: int) -> bool:
    listed = code in (wanted.get("values") or ())
    return code != 0 and (listed if wanted["operator"] == "In" else not listed)


def _exit_codes(pod: Obj) -> Iterable[tuple[str, int]]:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(field) or ():
            ended = (entry.get("state") or {}).get("terminated")
            if ended:
                yield entry["name"], int(ended.get("exitCode", 0))


def _restarts(pod: Obj) -> int:
    status = pod.get("status") or {}
    return sum(
        int(entry.get("restartCount") or 0)
        for field in ("containerStatuses", "initContainerStatuses")
        for entry in status.get(field) or ()
    )
