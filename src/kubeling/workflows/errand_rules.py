"""What is wrong with a template that the controller carries out itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.call_rules import Templates
from kubeling.workflows.entry_rules import duration_errors, entry_name_errors
from kubeling.workflows.expressions import ExpressionError, exprlang, tags
from kubeling.workflows.kubectlflags import UnknownFlag, parse_flags
from kubeling.workflows.places import KEYS
from kubeling.workflows.resourceconditions import parse_condition
from kubeling.workflows.tag_rules import Known, tag_errors

__all__ = ["data_errors", "http_errors", "resource_errors"]


def resource_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    """What is wrong with ``resource``."""
    wanted: Obj = template["resource"]
    at = f"{path}.resource"
    if wanted.get("manifest") and wanted.get("manifestFrom"):
        yield FieldError(f"{at}.manifestFrom", "Forbidden", "manifest is given already")
    if not (wanted.get("manifest") or wanted.get("manifestFrom") or wanted.get("flags")):
        message = "Must provide at least one of flags or manifest."
        yield FieldError(f"{at}.manifest", "Required value", message)
    yield from _manifest_from_errors(template, at)
    deleting = wanted.get("action") == "delete"
    for key in ("successCondition", "failureCondition"):
        condition = wanted.get(key) or ""
        if condition and deleting:
            yield FieldError(f"{at}.{key}", "Forbidden", "is not supported for delete action")
        elif not tags.has_tags(condition):
            yield from _refused(
                lambda text=condition: parse_condition(text), f"{at}.{key}", condition
            )
    flags = wanted.get("flags") or []
    if not any(tags.has_tags(flag) for flag in flags):
        yield from _refused(lambda: parse_flags(flags), f"{at}.flags", flags)
    seen: set[str] = set()
    for number, entry in enumerate((template.get("outputs") or {}).get("parameters") or ()):
        where = f"{path}.outputs.parameters[{number}]"
        yield from entry_name_errors(entry, where, seen)
        source = entry.get("valueFrom") or {}
        if deleting:
            yield FieldError(where, "Forbidden", "is not supported for delete action")
        elif not any(source.get(key) is not None for key in ("jsonPath", "jqFilter", "default")):
            message = "say what of the object it is: jsonPath or jqFilter"
            yield FieldError(f"{where}.valueFrom", "Required value", message)
    yield from _common_errors(template, path, known)


def http_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    """What is wrong with ``http``."""
    wanted: Obj = template["http"]
    at = f"{path}.http"
    url = str(wanted.get("url") or "")
    if not url:
        yield FieldError(f"{at}.url", "Required value", "say what to ask for")
    elif not tags.has_tags(url) and not url.startswith(("http://", "https://")):
        yield FieldError(f"{at}.url", "Invalid value", "begins with http:// or https://", url)
    condition = wanted.get("successCondition") or ""
    if condition and not tags.has_tags(condition):
        yield from _refused(
            lambda: exprlang.compile_expression(condition), f"{at}.successCondition", condition
        )
    for number, header in enumerate(wanted.get("headers") or ()):
        source = header.get("valueFrom") or {}
        if source and not (source.get("secretKeyRef") or {}).get("name"):
            where = f"{at}.headers[{number}].valueFrom.secretKeyRef"
            yield FieldError(where, "Required value", "name the Secret and its key")
    yield from _common_errors(template, path, known)


def data_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    """What is wrong with ``data``: it lists a store of objects, the platform's or another."""
    wanted: Obj = template["data"]
    source = (wanted.get("source") or {}).get("artifactPaths")
    at = f"{path}.data.source.artifactPaths"
    if not source:
        yield FieldError(at, "Required value", "say which artifacts to list")
    elif not any(source.get(kind) for kind in KEYS):
        message = f"give one of {', '.join(KEYS)}: nothing else can be listed"
        yield FieldError(at, "Unsupported value", message)
    if not wanted.get("transformation"):
        message = "give at least one expression"
        yield FieldError(f"{path}.data.transformation", "Required value", message)
    for number, step in enumerate(wanted.get("transformation") or ()):
        expression = step.get("expression") or ""
        if not tags.has_tags(expression):
            where = f"{path}.data.transformation[{number}].expression"
            yield from _refused(
                lambda e=expression: exprlang.compile_expression(e), where, expression
            )
    yield from _common_errors(template, path, known)


def _manifest_from_errors(template: Obj, path: str) -> Iterator[FieldError]:
    source = template["resource"].get("manifestFrom")
    if not source:
        return
    name = (source.get("artifact") or {}).get("name")
    inputs = (template.get("inputs") or {}).get("artifacts") or ()
    if name not in [artifact.get("name") for artifact in inputs]:
        where = f"{path}.manifestFrom.artifact.name"
        yield FieldError(where, "Not found", "is not an input artifact of this template", name)


def _common_errors(template: Obj, path: str, known: Known) -> Iterator[FieldError]:
    for key in ("timeout", "pendingTimeout"):
        if template.get(key) and not tags.has_tags(template[key]):
            yield from duration_errors(template[key], f"{path}.{key}")
    shown = {key: value for key, value in template.items() if key not in ("inputs", "metrics")}
    yield from tag_errors(shown, path, known)


def _refused(read: Any, path: str, value: Any) -> Iterator[FieldError]:
    """What a reader says of a text, if it refuses it."""
    try:
        read()
    except (ValueError, UnknownFlag, ExpressionError) as problem:
        yield FieldError(path, "Invalid value", str(problem), value)
