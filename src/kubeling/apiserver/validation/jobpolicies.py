"""Rules of a Job's policies: which failures end it, which successes are enough."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from kubeling.apiserver.validation.rules import Errors, at_least, choice, spec_of
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["pod_failure_policy", "success_policy"]

_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_MOST_RULES: Final = 20
_MOST_VALUES: Final = 255
_INTERVAL: Final = re.compile(r"(\d+)(?:-(\d+))?")


def pod_failure_policy(spec: Obj, path: str) -> Errors:
    """The rules by which failed pods are judged."""
    rules = spec["podFailurePolicy"].get("rules") or ()
    yield from _not_too_many(rules, f"{path}.rules", _MOST_RULES)
    template = spec_of(spec.get("template"))
    containers = [*template.get("containers", ()), *template.get("initContainers", ())]
    names = {container.get("name") for container in containers}
    for index, rule in enumerate(rules):
        yield from _rule(rule, f"{path}.rules[{index}]", names, spec)


def _rule(rule: Obj, path: str, names: set[Any], spec: Obj) -> Errors:
    action, codes = rule.get("action"), rule.get("onExitCodes")
    conditions = rule.get("onPodConditions") or ()
    if not action:
        message = "valid values: " + " ".join(f'"{known}"' for known in _ACTIONS)
        yield FieldError(f"{path}.action", "Required value", message)
    yield from choice(rule, path, "action", _ACTIONS)
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        message = "requires the backoffLimitPerIndex to be set"
        yield FieldError(f"{path}.action", "Invalid value", message, action)
    if codes is not None:
        yield from _exit_codes(codes, f"{path}.onExitCodes", names)
    yield from _not_too_many(conditions, f"{path}.onPodConditions", _MOST_RULES)
    for index, pattern in enumerate(conditions):
        where = f"{path}.onPodConditions[{index}]"
        yield from choice(pattern, where, "status", ("False", "True", "Unknown"))
    if codes is not None and conditions:
        message = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield FieldError(path, "Invalid value", message)
    if codes is None and not conditions:
        message = "specifying one of OnExitCodes and OnPodConditions is required"
        yield FieldError(path, "Invalid value", message)


def _exit_codes(codes: Obj, path: str, names: set[Any]) -> Errors:
    yield from choice(codes, path, "operator", ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in names:
        message = "must be one of the container or initContainer names in the pod template"
        yield FieldError(f"{path}.containerName", "Invalid value", message, container)
    values = codes.get("values") or []
    if not values:
        message = "at least one value is required"
        yield FieldError(f"{path}.values", "Invalid value", message, values)
    yield from _not_too_many(values, f"{path}.values", _MOST_VALUES)
    for index, value in enumerate(values):
        where = f"{path}.values[{index}]"
        if codes.get("operator") == "In" and value == 0:
            message = "must not be 0 for the In operator"
            yield FieldError(where, "Invalid value", message, value)
        if value in values[:index]:
            yield FieldError(where, "Duplicate value", "", value)
    if values != sorted(values):
        yield FieldError(f"{path}.values", "Invalid value", "must be ordered", values)


def success_policy(spec: Obj, path: str) -> Errors:
    """The rules by which some successes are enough."""
    rules = spec["successPolicy"].get("rules") or ()
    if not rules:
        message = "at least one rules must be specified when the successPolicy is specified"
        yield FieldError(f"{path}.rules", "Required value", message)
    yield from _not_too_many(rules, f"{path}.rules", _MOST_RULES)
    completions = int(spec.get("completions") or 0)
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, f"{path}.rules[{index}]", completions)


def _success_rule(rule: Obj, path: str, completions: int) -> Errors:
    count, listed = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and listed is None:
        message = "at least one of succeededCount or succeededIndexes must be specified"
        yield FieldError(path, "Required value", message)
    total = None
    if listed is not None:
        try:
            total = _number_of_indexes(listed, completions)
        except ValueError as error:
            message = f"error parsing succeededIndexes: {error}"
            yield FieldError(f"{path}.succeededIndexes", "Invalid value", message, listed)
    if count is None:
        return
    yield from at_least(rule, path, "succeededCount")
    bounds = (
        (completions, "the number of specified completions"),
        (total, "the number of indexes in the specified succeededIndexes field"),
    )
    for bound, what in bounds:
        if bound is not None and count > bound:
            message = f"must be less than or equal to {bound} ({what})"
            yield FieldError(f"{path}.succeededCount", "Invalid value", message, count)


def _number_of_indexes(listed: str, completions: int) -> int:
    """How many indexes a text names; raises :class:`ValueError` in upstream's words."""
    total, last = 0, -1
    for part in listed.split(",") if listed else ():
        found = _INTERVAL.fullmatch(part)
        if found is None:
            raise ValueError(f'the fragment "{part}" violates the requirement that an index '
                             "interval can have at most two parts separated by '-'")  # fmt: skip
        first = int(found[1])
        end = int(found[2] or first)
        if first >= completions or end >= completions:
            raise ValueError(f'too large index: "{max(first, end)}"')
        if first <= last:
            raise ValueError(
                f"non-increasing order, previous: {last}, current: {first}"
            )  # fmt: skip
        if found[2] and end <= first:
            raise ValueError(f"non-increasing order, previous: {first}, current: {end}")
        total, last = total + end - first + 1, end
    return total


def _not_too_many(items: Iterable[Any], path: str, most: int) -> Errors:
    number = len(list(items))
    if number > most:
        yield FieldError(path, "Too many", f"must have at most {most} items", number)
