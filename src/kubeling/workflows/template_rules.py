"""What is wrong with one template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.call_rules import Templates, dag_errors, steps_errors
from kubeling.workflows.expressions import ExpressionError, exprlang, tags
from kubeling.workflows.gate_rules import memoize_errors, synchronization_errors
from kubeling.workflows.images import image_command
from kubeling.workflows.place_rules import artifact_errors, place_errors
from kubeling.workflows.tag_rules import Known, tag_errors

__all__ = ["SUPPORTED_TYPES", "template_errors"]

SUPPORTED_TYPES: Final = ("container", "script", "steps", "dag", "suspend")
_OTHER_TYPES: Final = ("containerSet", "resource", "http", "data", "plugin")
_UNSUPPORTED: Final = ("daemon", "podSpecPatch")
_NAME: Final = re.compile(r"^[A-Za-z0-9][-A-Za-z0-9]{0,127}$")
_PARAMETER: Final = re.compile(r"^[-A-Za-z0-9_]+$")
_MAX_TEXT: Final = 100 * 1024


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
    for unsupported in (*_OTHER_TYPES, *_UNSUPPORTED):
        if template.get(unsupported) not in (None, False, ""):
            yield FieldError(f"{path}.{unsupported}", "Forbidden", "is not supported yet")
    yield from _input_errors(template, path, bool(kinds and kinds[0] in ("container", "script")))
    yield from place_errors(template.get("archiveLocation") or {}, f"{path}.archiveLocation")
    if synchronization := template.get("synchronization"):
        yield from synchronization_errors(synchronization, f"{path}.synchronization")
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
            yield from _entry_name_errors(entry, at, seen)
            if kind == "artifacts":
                yield from artifact_errors(entry, at)
                if is_pod and not entry.get("path"):
                    yield FieldError(f"{at}.path", "Required value", "say where the step reads it")


def _entry_name_errors(entry: Obj, path: str, seen: set[str]) -> Iterator[FieldError]:
    name = str(entry.get("name") or "")
    if not name:
        yield FieldError(f"{path}.name", "Required value", "give it a name")
    elif not _PARAMETER.match(name):
        message = "use letters, digits, hyphens and underscores"
        yield FieldError(f"{path}.name", "Invalid value", message, name)
    elif name in seen:
        yield FieldError(f"{path}.name", "Duplicate value", "", name)
    seen.add(name)


def _retry_errors(strategy: Obj, path: str) -> Iterator[FieldError]:
    limit = str(strategy.get("limit", "0"))
    if not limit.isdigit() and not tags.has_tags(limit):
        yield FieldError(f"{path}.limit", "Invalid value", "must be a whole number", limit)
    backoff = strategy.get("backoff") or {}
    for key in ("duration", "maxDuration", "cap"):
        if backoff.get(key) and not tags.has_tags(str(backoff[key])):
            yield from _duration_errors(backoff[key], f"{path}.backoff.{key}")
    if expression := strategy.get("expression"):
        try:
            exprlang.compile_expression(expression)
        except ExpressionError as error:
            yield FieldError(f"{path}.expression", "Invalid value", str(error), expression)


def _duration_errors(value: Any, path: str) -> Iterator[FieldError]:
    try:
        parse_duration(value)
    except ValueError as error:
        yield FieldError(path, "Invalid value", str(error))


def _pod_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    kind = "script" if template.get("script") is not None else "container"
    content: Obj = template[kind]
    if not content.get("image"):
        yield FieldError(f"{path}.{kind}.image", "Required value", "name the image to run")
    elif not content.get("command") and _needs_command(template, kind, content["image"]):
        message = (
            "this step's program, inputs or outputs are handed over around its command, and the "
            "image's own ENTRYPOINT cannot be seen from here; write the command out"
        )
        yield FieldError(f"{path}.{kind}.command", "Required value", message)
    if kind == "script" and not content.get("source"):
        yield FieldError(f"{path}.script.source", "Required value", "write the program here")
    if len(str(content.get("source") or "")) > _MAX_TEXT:
        yield FieldError(f"{path}.script.source", "Too long", "must be at most 100 KiB")
    timeout = template.get("timeout")
    if timeout and not tags.has_tags(timeout):
        yield from _duration_errors(timeout, f"{path}.timeout")
    yield from _pod_output_errors(template, path)
    shown = {key: value for key, value in template.items() if key not in ("inputs", "metrics")}
    yield from tag_errors(shown, path, known)


def _needs_command(template: Obj, kind: str, image: str) -> bool:
    if tags.has_tags(image) or image_command(image) is not None:
        return False
    handed = [(template.get(side) or {}).get("artifacts") for side in ("inputs", "outputs")]
    parameters = (template.get("outputs") or {}).get("parameters") or ()
    from_files = any((p.get("valueFrom") or {}).get("path") for p in parameters)
    return kind == "script" or any(handed) or from_files


def _pod_output_errors(template: Obj, path: str) -> Iterator[FieldError]:
    outputs = template.get("outputs") or {}
    for kind in ("parameters", "artifacts"):
        seen: set[str] = set()
        for number, entry in enumerate(outputs.get(kind) or ()):
            at = f"{path}.outputs.{kind}[{number}]"
            yield from _entry_name_errors(entry, at, seen)
            if kind == "artifacts":
                yield from artifact_errors(entry, at, output=True)
                if not entry.get("path"):
                    yield FieldError(f"{at}.path", "Required value", "say where the step writes it")
            elif entry.get("value") is None and not (entry.get("valueFrom") or {}).get("path"):
                yield FieldError(
                    f"{at}.valueFrom.path", "Required value", "say which file the step writes it to"
                )


def _suspend_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    duration = template["suspend"].get("duration")
    if duration and not tags.has_tags(str(duration)):
        yield from _duration_errors(duration, f"{path}.suspend.duration")
    yield from tag_errors(template["suspend"], f"{path}.suspend", known)


_CHECKS: Final[dict[str, Callable[[Obj, str, Known, Templates], Iterator[FieldError]]]] = {
    "container": _pod_errors,
    "script": _pod_errors,
    "steps": steps_errors,
    "dag": dag_errors,
    "suspend": _suspend_errors,
}
