"""What is filled into Argo's kinds when they are written, and what is refused.

Everything that can be known from the manifest alone is checked here, so that a Workflow that is
accepted fails for what its steps do and not for how it is written. References to WorkflowTemplates
are looked up when the Workflow runs, as upstream does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube import selectors
from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import BadRequest, FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.workflows.call_rules import Templates, hook_expression_errors, target_errors
from kubeling.workflows.cron_rules import cron_errors
from kubeling.workflows.entry_rules import duration_errors
from kubeling.workflows.gate_rules import synchronization_errors
from kubeling.workflows.meter_rules import metric_errors
from kubeling.workflows.place_rules import artifact_errors
from kubeling.workflows.pod_rules import patch_errors
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)
from kubeling.workflows.tag_rules import Known, tag_errors
from kubeling.workflows.template_rules import template_errors
from kubeling.workflows.templates import with_defaults
from kubeling.workflows.variables import parameter_text

__all__ = ["admissions", "set_defaults", "spec_errors"]

_MAX_NAME: Final = 63
_STATUS_APART: Final = (
    "status: not changed, since Workflows have a status subresource here; add --subresource=status"
)


def admissions() -> dict[Resource, Admission]:
    """The admission of every kind of this room."""
    return {
        WORKFLOWS: Admission(_default, _validate_workflow, apart=_STATUS_APART),
        WORKFLOW_TEMPLATES: Admission(_default, _validate_template),
        CLUSTER_WORKFLOW_TEMPLATES: Admission(_default, _validate_template),
        CRON_WORKFLOWS: Admission(_default_cron, _validate_cron),
    }


def set_defaults(spec: Any) -> None:
    """Names the containers that have no name: a container in a pod needs one, a step's does not."""
    if not isinstance(spec, dict):
        return
    templates = spec.get("templates")
    listed = templates if isinstance(templates, list) else []
    for template in [*listed, spec.get("templateDefaults")]:
        container = template.get("container") if isinstance(template, dict) else None
        if isinstance(container, dict) and not container.get("name"):
            container["name"] = "main"


def spec_errors(spec: Obj, path: str, *, is_template: bool) -> Iterator[FieldError]:
    """Everything wrong with the spec of a Workflow or, more leniently, of a WorkflowTemplate."""
    reference = spec.get("workflowTemplateRef")
    templates: list[Obj] = spec.get("templates") or []
    by_name: dict[str, Obj] = {}
    for template in templates:
        by_name.setdefault(str(template.get("name")), template)
    closed = reference is None
    all_ = Templates(by_name, closed)
    if reference is not None and not reference.get("name"):
        yield FieldError(
            f"{path}.workflowTemplateRef.name", "Required value", "name the WorkflowTemplate"
        )
    if closed and not templates:
        yield FieldError(f"{path}.templates", "Required value", "give at least one template")
    yield from _entrypoint_errors(spec, path, all_, required=not is_template and closed)
    given = (spec.get("arguments") or {}).get("parameters") or []
    complete = not is_template and closed
    yield from _argument_errors(spec, path, complete)
    names = [str(parameter.get("name")) for parameter in given]
    known = Known(workflow_parameters=names if complete else None)
    yield from _end_errors(spec, path, known, all_)
    yield from _garbage_errors(spec.get("podGC") or {}, f"{path}.podGC")
    if spec.get("executorPlugins"):
        message = "executor plugins are not supported; use a container, a script or http"
        yield FieldError(f"{path}.executorPlugins", "Forbidden", message)
    if metrics := spec.get("metrics"):
        yield from metric_errors(metrics, f"{path}.metrics")
    if synchronization := spec.get("synchronization"):
        yield from synchronization_errors(synchronization, f"{path}.synchronization")
    yield from patch_errors(spec, path)
    for number, template in enumerate(templates):
        at = f"{path}.templates[{number}]"
        if template.get("name") and by_name[str(template["name"])] is not template:
            yield FieldError(f"{at}.name", "Duplicate value", "", template["name"])
        completed = with_defaults(template, spec.get("templateDefaults") or {})
        yield from template_errors(completed, at, known, all_)


def _entrypoint_errors(
    spec: Obj, path: str, all_: Templates, *, required: bool
) -> Iterator[FieldError]:
    entrypoint = spec.get("entrypoint")
    if not entrypoint:
        if required:
            listed = ", ".join(all_.by_name) or "none"
            message = f"name the template to begin with (there are: {listed})"
            yield FieldError(f"{path}.entrypoint", "Required value", message)
        return
    if all_.closed and entrypoint not in all_.by_name:
        listed = ", ".join(all_.by_name) or "none"
        message = f"no template of this name in {path}.templates (there are: {listed})"
        yield FieldError(f"{path}.entrypoint", "Not found", message, entrypoint)


def _argument_errors(spec: Obj, path: str, complete: bool) -> Iterator[FieldError]:
    arguments = spec.get("arguments") or {}
    for kind in ("parameters", "artifacts"):
        seen: set[str] = set()
        for number, entry in enumerate(arguments.get(kind) or ()):
            at = f"{path}.arguments.{kind}[{number}]"
            if entry.get("name") in seen:
                yield FieldError(f"{at}.name", "Duplicate value", "", entry["name"])
            seen.add(str(entry.get("name")))
            if kind == "artifacts":
                yield from artifact_errors(entry, at)
                continue
            yield from _enum_errors(entry, at, complete)
            if complete and all(
                entry.get(key) is None for key in ("value", "default", "valueFrom")
            ):
                yield FieldError(f"{at}.value", "Required value", "give the parameter a value")


def _garbage_errors(rule: Obj, path: str) -> Iterator[FieldError]:
    if rule.get("deleteDelayDuration"):
        yield from duration_errors(rule["deleteDelayDuration"], f"{path}.deleteDelayDuration")
    try:
        selectors.from_object(rule.get("labelSelector") or {})
    except BadRequest as error:
        yield FieldError(f"{path}.labelSelector", "Invalid value", str(error))


def _enum_errors(parameter: Obj, path: str, complete: bool) -> Iterator[FieldError]:
    allowed = parameter.get("enum")
    if allowed is None:
        return
    value = parameter.get("value")
    if not allowed:
        yield FieldError(f"{path}.enum", "Required value", "should contain at least one value")
    elif value is None and complete and parameter.get("default") is None:
        yield FieldError(f"{path}.value", "Required value", "give one of those in enum")
    elif value is not None and parameter_text(value) not in map(parameter_text, allowed):
        message = "value should be present in the enum list"
        yield FieldError(f"{path}.value", "Invalid value", message, value)


def _end_errors(spec: Obj, path: str, known: Known, all_: Templates) -> Iterator[FieldError]:
    if spec.get("onExit") and all_.closed and spec["onExit"] not in all_.by_name:
        message = f"no template of this name in {path}.templates"
        yield FieldError(f"{path}.onExit", "Not found", message, spec["onExit"])
    for name, hook in (spec.get("hooks") or {}).items():
        at = f"{path}.hooks.{name}"
        yield from target_errors(hook, at, all_)
        yield from hook_expression_errors(name, hook, at)
        yield from tag_errors(hook.get("arguments"), f"{at}.arguments", known)


def _default(obj: Obj, _: AdmissionRequest) -> None:
    set_defaults(obj.get("spec"))


def _default_cron(obj: Obj, _: AdmissionRequest) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict):
        set_defaults(spec.get("workflowSpec"))


def _validate_workflow(new: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    if old is not None and old.get("spec") == new.get("spec"):
        return []
    errors = list(spec_errors(new.get("spec") or {}, "spec", is_template=False))
    if len(new["metadata"].get("name") or "") > _MAX_NAME:
        message = f"must be at most {_MAX_NAME} characters, because pods carry it as a label"
        errors.append(FieldError("metadata.name", "Too long", message))
    return errors


def _validate_template(new: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    if old is not None and old.get("spec") == new.get("spec"):
        return []
    return list(spec_errors(new.get("spec") or {}, "spec", is_template=True))


def _validate_cron(new: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    if old is not None and old.get("spec") == new.get("spec"):
        return []
    spec = new.get("spec") or {}
    inner = spec_errors(spec.get("workflowSpec") or {}, "spec.workflowSpec", is_template=False)
    return [*cron_errors(spec), *inner]
