"""Rules of what keeps pods running: Deployments, sets, budgets."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.validation.pod import pod_template
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    at_least,
    choice,
    frozen,
    int_or_percent,
    required,
    selector,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.selectors import from_object

__all__ = ["WORKLOAD_RULES"]

_COUNTS: Final = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
_CHANGEABLE: Final = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _pods(new: Obj, old: Obj | None) -> Errors:
    """What all of them share: how many, which, and what of."""
    spec = spec_of(new)
    yield from at_least(spec, "spec", *_COUNTS)
    yield from _selector(spec, str(new.get("kind", "")).lower())
    if old is not None:
        yield from frozen(spec, spec_of(old), "spec", "selector")
    claims = (claim.get("metadata") or {} for claim in spec.get("volumeClaimTemplates") or ())
    template = spec.get("template") or {}
    named = [claim.get("name", "") for claim in claims]
    yield from pod_template(template, "spec.template", more_volumes=named)
    if spec_of(template).get("activeDeadlineSeconds") is not None:
        message = f"activeDeadlineSeconds in {new.get('kind')} is not Supported"
        yield FieldError("spec.template.spec.activeDeadlineSeconds", "Forbidden", message)


def _selector(spec: Obj, kind: str) -> Errors:
    found = spec.get("selector")
    if found is None:
        yield FieldError("spec.selector", "Required value", "")
        return
    wrong = list(selector(found, "spec.selector"))
    yield from wrong
    if not found.get("matchLabels") and not found.get("matchExpressions"):
        message = f"empty selector is invalid for {kind}"
        yield FieldError("spec.selector", "Invalid value", message, found)
    elif not wrong:
        yield from _matches(from_object(found).matches(_labels(spec)), spec)


def _labels(spec: Obj) -> dict[str, str]:
    found: dict[str, str] = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return found


def _matches(matches: bool, spec: Obj) -> Errors:
    if not matches:
        message = "`selector` does not match template `labels`"
        path = "spec.template.metadata.labels"
        yield FieldError(path, "Invalid value", message, _labels(spec))


def _deployment(new: Obj, old: Obj | None) -> Errors:
    yield from _pods(new, old)
    spec = spec_of(new)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None and deadline <= ready:
        message = "must be greater than minReadySeconds"
        yield FieldError("spec.progressDeadlineSeconds", "Invalid value", message, deadline)
    strategy = spec.get("strategy") or {}
    yield from choice(strategy, "spec.strategy", "type", ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        message = "may not be specified when strategy `type` is 'Recreate'"
        yield FieldError("spec.strategy.rollingUpdate", "Forbidden", message)
    elif rolling is not None:
        yield from _rolling(rolling, "spec.strategy.rollingUpdate")


def _rolling(rolling: Obj, path: str) -> Errors:
    yield from int_or_percent(rolling, path, "maxUnavailable")
    yield from int_or_percent(rolling, path, "maxSurge")
    if _is_zero(rolling.get("maxUnavailable")) and _is_zero(rolling.get("maxSurge")):
        message = "may not be 0 when `maxSurge` is 0"
        value = rolling.get("maxUnavailable")
        yield FieldError(f"{path}.maxUnavailable", "Invalid value", message, value)


def _is_zero(value: Any) -> bool:
    return value in (0, "0%")


def _replicated(new: Obj, old: Obj | None) -> Errors:
    """A ReplicationController: its selector is plain labels."""
    spec = spec_of(new)
    yield from at_least(spec, "spec", *_COUNTS)
    yield from required(spec, "spec", "selector")
    wanted = spec.get("selector") or {}
    yield from _matches(wanted.items() <= _labels(spec).items(), spec)
    yield from pod_template(spec.get("template") or {}, "spec.template")


def _updating(new: Obj) -> Errors:
    strategy = spec_of(new).get("updateStrategy") or {}
    yield from choice(strategy, "spec.updateStrategy", "type", ("OnDelete", "RollingUpdate"))


def _stateful_set(new: Obj, old: Obj | None) -> Errors:
    yield from _pods(new, old)
    yield from _updating(new)
    yield from choice(spec_of(new), "spec", "podManagementPolicy", ("OrderedReady", "Parallel"))
    if old is None:
        return
    before, after = spec_of(old), spec_of(new)
    fields = (before.keys() | after.keys()) - {*_CHANGEABLE, "selector"}
    if any(before.get(field) != after.get(field) for field in fields):
        listed = ", ".join(f"'{field}'" for field in _CHANGEABLE[:-1])
        message = (
            f"updates to statefulset spec for fields other than {listed} and "
            f"'{_CHANGEABLE[-1]}' are forbidden"
        )
        yield FieldError("spec", "Forbidden", message)


def _daemon_set(new: Obj, old: Obj | None) -> Errors:
    yield from _pods(new, old)
    yield from _updating(new)


def _budget(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    if "minAvailable" in spec and "maxUnavailable" in spec:
        message = "minAvailable and maxUnavailable cannot be both set"
        yield FieldError("spec", "Invalid value", message)
    yield from int_or_percent(spec, "spec", "minAvailable")
    yield from int_or_percent(spec, "spec", "maxUnavailable")
    yield from selector(spec.get("selector") or {}, "spec.selector")


WORKLOAD_RULES: Final[Checks] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _pods,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("", "ReplicationController"): _replicated,
    ("policy", "PodDisruptionBudget"): _budget,
}
