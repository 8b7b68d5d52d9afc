"""Trial templates: finding placeholders and putting values in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.objects import Obj
from kubeling.tuning.space import Assignments

__all__ = [
    "TemplateError",
    "is_meta_reference",
    "kept_template",
    "placeholders",
    "render",
    "values_of",
]

_PLACEHOLDER: Final = re.compile(r"\$\{trialParameters\.([^}]+)\}")
_META: Final = re.compile(
    r"^\$\{trialSpec\.(?:(?P<field>Name|Namespace|Kind|APIVersion)"
    r"|(?P<map>Labels|Annotations)\[(?P<key>[^\]]+)\])\}$"
)


class TemplateError(ValueError):
    """The template cannot be rendered; the message says what is missing."""


def is_meta_reference(reference: str) -> bool:
    """Whether a reference is to the trial itself (``${trialSpec.Name}``)."""
    return _META.match(reference) is not None


def kept_template(config_map: Obj | None, source: Obj) -> str:
    """The text that ``configMap`` of a trial template means, in a ConfigMap that may not be there.

    Upstream: ``GetTrialTemplate`` of Katib's manifest generator, which also prints all that the
    ConfigMap holds, to people who may not be allowed to read it.
    """
    found, path = source["configMapName"], source["templatePath"]
    if config_map is None:
        where = source["configMapNamespace"]
        raise TemplateError(
            f'configMap not found: configmaps "{found}" not found in namespace "{where}"'
        )
    text = (config_map.get("data") or {}).get(path)
    if text is None:
        raise TemplateError(
            f"unable to find trial template in ConfigMap: TemplatePath: {path}, ConfigMap: {found}"
        )
    return str(text)


def placeholders(template: Any) -> set[str]:
    """The names of the trial parameters a template uses."""
    return {found for text in _texts(template) for found in _PLACEHOLDER.findall(text)}


def render(template: Obj | str, values: Mapping[str, str], name: str, namespace: str) -> Obj:
    """The object a trial runs; ``template`` is an object, or YAML text with placeholders.

    In an object, placeholders are replaced within its strings; in text, before it is read, so that
    numbers can be numbers.
    """
    fill = _filler(values)
    if isinstance(template, str):
        try:
            rendered = yaml.load(fill(template))
        except ValueError as error:
            raise TemplateError(f"the template is not YAML: {error}") from error
    else:
        rendered = _replace(template, fill)
    if not isinstance(rendered, dict) or not rendered.get("kind"):
        raise TemplateError("the template is not an object with apiVersion and kind")
    metadata = {**(rendered.get("metadata") or {}), "name": name, "namespace": namespace}
    return {**rendered, "metadata": metadata}


def values_of(
    parameters: list[Obj], assignments: Assignments, trial: str, namespace: str, template: Obj
) -> dict[str, str]:
    """What each trial parameter stands for in one trial."""
    values = {}
    for parameter in parameters:
        reference = parameter.get("reference", "")
        if meta := _META.match(reference):
            values[parameter["name"]] = _meta_value(meta, trial, namespace, template)
        elif reference in assignments:
            values[parameter["name"]] = assignments[reference]
        else:
            raise TemplateError(
                f'trial parameter "{parameter["name"]}" refers to "{reference}", which is no '
                "parameter of the experiment"
            )
    return values


def _meta_value(meta: re.Match[str], trial: str, namespace: str, template: Obj) -> str:
    match meta["field"]:
        case "Name":
            return trial
        case "Namespace":
            return namespace
        case "Kind":
            return str(template.get("kind", ""))
        case "APIVersion":
            return str(template.get("apiVersion", ""))
    found = (template.get("metadata") or {}).get(meta["map"].lower()) or {}
    if meta["key"] not in found:
        raise TemplateError(f"the template has no {meta['map'].lower()} entry {meta['key']}")
    return str(found[meta["key"]])


def _filler(values: Mapping[str, str]) -> Callable[[str], str]:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise TemplateError(
                f"{found[0]} is not declared in trialParameters; declare it or remove it"
            )
        return values[found[1]]

    return lambda text: _PLACEHOLDER.sub(value, text)


def _replace(value: Any, fill: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, dict):
        return {fill(key): _replace(child, fill) for key, child in value.items()}
    if isinstance(value, list):
        return [_replace(child, fill) for child in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield key
            yield from _texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)
