"""The rules of a trial template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.admission import Find
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.tuning import gjson
from kubeling.tuning.templates import TemplateError, is_meta_reference, kept_template, placeholders

__all__ = ["template_errors"]

_PATH: Final = "spec.trialTemplate"
_SOURCE: Final = ("configMapName", "configMapNamespace", "templatePath")


def template_errors(spec: Obj, find: Find | None = None) -> Iterator[FieldError]:
    """What is wrong with ``spec.trialTemplate``.

    ``find`` reads the ConfigMap that a template is kept in; without it, that is the controller's.
    """
    template = spec.get("trialTemplate")
    if not isinstance(template, dict):
        message = (
            "say what a trial runs: trialSpec (a Job, say), trialParameters and "
            "primaryContainerName"
        )
        yield FieldError(_PATH, "Required value", message)
        return
    yield from _source(template)
    if not template.get("primaryContainerName"):
        path = f"{_PATH}.primaryContainerName"
        yield FieldError(path, "Required value", "name the container whose metrics count")
    for field in ("successCondition", "failureCondition"):
        yield from _condition(field, template.get(field))
    yield from _trial_parameters(spec, template)
    inline, source = template.get("trialSpec"), template.get("configMap")
    if isinstance(inline, dict):
        yield from _use(template, inline)
    elif isinstance(source, dict) and all(source.get(field) for field in _SOURCE) and find:
        yield from _kept(template, source, find)


def _source(template: Obj) -> Iterator[FieldError]:
    inline, config_map = template.get("trialSpec"), template.get("configMap")
    if bool(inline) == bool(config_map):
        message = "give exactly one of trialSpec and configMap"
        yield FieldError(f"{_PATH}.trialSpec", "Required value", message)
    elif isinstance(inline, dict):
        for field in ("apiVersion", "kind"):
            if not inline.get(field):
                message = "name what kind of object a trial is"
                yield FieldError(f"{_PATH}.trialSpec.{field}", "Required value", message)
        for field in ("name", "namespace"):
            if (inline.get("metadata") or {}).get(field):
                path = f"{_PATH}.trialSpec.metadata.{field}"
                yield FieldError(path, "Forbidden", "every trial gets its own; remove it")
    elif isinstance(config_map, dict):
        for field in _SOURCE:
            if not config_map.get(field):
                path = f"{_PATH}.configMap.{field}"
                yield FieldError(path, "Required value", "say where the template is kept")


def _condition(field: str, value: Any) -> Iterator[FieldError]:
    path = f"{_PATH}.{field}"
    if not value:
        message = "say how this kind of trial shows its end (a GJSON path into the object)"
        yield FieldError(path, "Required value", message)
        return
    try:
        gjson.parse(str(value))
    except gjson.PathError as error:
        yield FieldError(path, "Invalid value", str(error), value)


def _trial_parameters(spec: Obj, template: Obj) -> Iterator[FieldError]:
    path = f"{_PATH}.trialParameters"
    declared = template.get("trialParameters") or []
    if not declared:
        message = "declare at least one, and use it as ${trialParameters.<name>} in the template"
        yield FieldError(path, "Required value", message)
        return
    searched = {parameter.get("name") for parameter in spec.get("parameters") or ()}
    if spec.get("nasConfig"):
        # Architectures have no parameters; what an algorithm tells its trials has names of its own.
        searched = {str(parameter.get("reference")) for parameter in declared}
    names: set[str] = set()
    for index, parameter in enumerate(declared):
        yield from _trial_parameter(f"{path}[{index}]", parameter, names, searched)
    yield from _references(path, declared, searched)


def _trial_parameter(
    path: str, parameter: Obj, names: set[str], searched: set[Any]
) -> Iterator[FieldError]:
    name, reference = str(parameter.get("name") or ""), str(parameter.get("reference") or "")
    if not name:
        yield FieldError(f"{path}.name", "Required value", "name the placeholder")
    elif name in names:
        yield FieldError(f"{path}.name", "Duplicate value", "", name)
    elif "{" in name or "}" in name:
        yield FieldError(f"{path}.name", "Invalid value", "must not hold braces", name)
    names.add(name)
    if not reference:
        message = "name the parameter of the experiment it stands for"
        yield FieldError(f"{path}.reference", "Required value", message)
    elif reference not in searched and not is_meta_reference(reference):
        message = "is neither a parameter of the experiment nor ${trialSpec.<field>}"
        yield FieldError(f"{path}.reference", "Invalid value", message, reference)


def _references(path: str, declared: list[Obj], searched: set[Any]) -> Iterator[FieldError]:
    """Every parameter of the experiment stands in the template once, under one name."""
    references = [str(parameter.get("reference") or "") for parameter in declared]
    for index, reference in enumerate(references):
        if reference and reference in references[:index]:
            yield FieldError(f"{path}[{index}].reference", "Duplicate value", "", reference)
    for name in sorted(str(name) for name in searched - set(references) if name):
        message = f'no trial parameter refers to the parameter "{name}", so no trial would see it'
        yield FieldError(path, "Required value", message)


def _use(template: Obj, content: Obj | str) -> Iterator[FieldError]:
    """A template and its parameters know each other; both in upstream's words."""
    used, declared = placeholders(content), template.get("trialParameters") or []
    names = [str(parameter.get("name") or "") for parameter in declared]
    for index, name in enumerate(names):
        if name and name not in used:
            path = f"{_PATH}.trialParameters[{index}].name"
            message = (
                f"parameter name: {name} in spec.trialParameters not found in spec.trialTemplate; "
                f"use ${{trialParameters.{name}}} there or remove the parameter"
            )
            yield FieldError(path, "Invalid value", message, name)
    unknown = [f"${{trialParameters.{name}}}" for name in sorted(used.difference(names))]
    if declared and unknown:
        message = (
            f"parameters: [{' '.join(unknown)}] in spec.trialTemplate not found in "
            "spec.trialParameters; declare them there"
        )
        yield FieldError(_PATH, "Invalid value", message, "")


def _kept(template: Obj, source: Obj, find: Find) -> Iterator[FieldError]:
    """The same of a template in a ConfigMap, which has to be there first, as upstream's."""
    where = source["configMapNamespace"]
    try:
        content = kept_template(find(CONFIG_MAPS, source["configMapName"], where), source)
    except TemplateError as error:
        yield FieldError(_PATH, "Invalid value", f"unable to parse spec.trialTemplate: {error}", "")
        return
    yield from _use(template, content)
