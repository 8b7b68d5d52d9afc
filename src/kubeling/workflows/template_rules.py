"""What is wrong with one template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.call_rules import Templates, dag_errors, steps_errors
from kubeling.workflows.entry_rules import duration_errors, entry_name_errors
from kubeling.workflows.errand_rules import data_errors, http_errors, resource_errors
from kubeling.workflows.expressions import ExpressionError, exprlang, tags
from kubeling.workflows.gate_rules import memoize_errors, synchronization_errors
from kubeling.workflows.meter_rules import metric_errors
from kubeling.workflows.place_rules import artifact_errors, place_errors
from kubeling.workflows.pod_rules import pod_errors, set_errors
from kubeling.workflows.tag_rules import Known, tag_errors

__all__ = ["SUPPORTED_TYPES", "template_errors"]

SUPPORTED_TYPES: Final = (
    "container",
    "script",
    "containerSet",
    "steps",
    "dag",
    "suspend",
    "resource",
    "http",
    "data",
)
_IN_PODS: Final = ("container", "script", "containerSet")
_OTHER_TYPES: Final = ("plugin",)
_NAME: Final = re.compile(r"^[A-Za-z0-9][-A-Za-z0-9]{0,127}$")


def template_errors(
    template: Obj, path: str, known: Known, all_: Templates, *, inline: bool = False
) -> Iterator[FieldError]:
    """Everything wrong with a template, apart from its name being taken."""
    if not inline:
        yield from _name_errors(template, path)
    kinds = [key for key in (*SUPPORTED_TYPES, *_OTHER_TYPES) if template.get(key) is not None]
    if not kinds:
        message = f"say what it runs: one of {', '.join(SUPPORTED_TYPES)}"
        yield FieldError(path, "Required value", message)
    for extra in kinds[1:]:
        yield FieldError(f"{path}.{extra}", "Forbidden", f"{kinds[0]} is given already")
    if template.get("plugin") is not None:
        message = "executor plugins are not supported; use a container, a script or http"
        yield FieldError(f"{path}.plugin", "Forbidden", message)
    yield from _input_errors(
        template, path, bool(kinds and kinds[0] in ("container", "script", "containerSet"))
    )
    yield from place_errors(template.get("archiveLocation") or {}, f"{path}.archiveLocation")
    if synchronization := template.get("synchronization"):
        yield from synchronization_errors(synchronization, f"{path}.synchronization")
    if metrics := template.get("metrics"):
        yield from metric_errors(metrics, f"{path}.metrics")
    if memoize := template.get("memoize"):
        yield from memoize_errors(memoize, f"{path}.memoize")
    yield from _retry_errors(template.get("retryStrategy") or {}, f"{path}.retryStrategy")
    if len(kinds) == 1 and kinds[0] in SUPPORTED_TYPES:
        yield from _CHECKS[kinds[0]](template, path, _with_inputs(known, template), all_)


def _name_errors(template: Obj, path: str) -> Iterator[FieldError]:
    name = template.get("name") or ""
    if not name:
        yield FieldError(f"{path}.name", "Required value", "give the template a name")
    elif not _NAME.match(name):
        message = "use up to 128 letters, digits and hyphens, not beginning with a hyphen"
        yield FieldError(f"{path}.name", "Invalid value", message, name)


def _with_inputs(known: Known, template: Obj) -> Known:
    inputs = template.get("inputs") or {}
    return Known(
        workflow_parameters=known.workflow_parameters,
        input_parameters=[str(p.get("name")) for p in inputs.get("parameters") or ()],
        input_artifacts=[str(a.get("name")) for a in inputs.get("artifacts") or ()],
    )


def _input_errors(template: Obj, path: str, is_pod: bool) -> Iterator[FieldError]:
    inputs = template.get("inputs") or {}
    for kind in ("parameters", "artifacts"):
        seen: set[str] = set()
        for number, entry in enumerate(inputs.get(kind) or ()):
            at = f"{path}.inputs.{kind}[{number}]"
            yield from entry_name_errors(entry, at, seen)
            if kind == "artifacts":
                yield from artifact_errors(entry, at)
                if is_pod and not entry.get("path"):
                    yield FieldError(f"{at}.path", "Required value", "say where the step reads it")


def _retry_errors(strategy: Obj, path: str) -> Iterator[FieldError]:
    limit = str(strategy.get("limit", "0"))
    if not limit.isdigit() and not tags.has_tags(limit):
        yield FieldError(f"{path}.limit", "Invalid value", "must be a whole number", limit)
    backoff = strategy.get("backoff") or {}
    for key in ("duration", "maxDuration", "cap"):
        if backoff.get(key) and not tags.has_tags(str(backoff[key])):
            yield from duration_errors(backoff[key], f"{path}.backoff.{key}")
    expression = strategy.get("expression")
    if expression and not tags.has_tags(expression):
        try:
            exprlang.compile_expression(expression)
        except ExpressionError as error:
            yield FieldError(f"{path}.expression", "Invalid value", str(error), expression)


def _suspend_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    duration = template["suspend"].get("duration")
    if duration and not tags.has_tags(str(duration)):
        yield from duration_errors(duration, f"{path}.suspend.duration")
    yield from tag_errors(template["suspend"], f"{path}.suspend", known)


_CHECKS: Final[dict[str, Callable[[Obj, str, Known, Templates], Iterator[FieldError]]]] = {
    "container": pod_errors,
    "script": pod_errors,
    "containerSet": set_errors,
    "steps": steps_errors,
    "dag": dag_errors,
    "suspend": _suspend_errors,
    "resource": resource_errors,
    "http": http_errors,
    "data": data_errors,
}
