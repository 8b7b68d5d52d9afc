"""Inputs of pipelines and templates: what a form asks for, and what the answers mean. Pure.

The command line and the dashboard's forms read values alike, and say alike what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy

__all__ = [
    "Input",
    "inputs_of_pipeline",
    "inputs_of_template",
    "read_inputs",
    "text_of",
    "typed",
    "without_caching",
]

_SHAPES: Final = {
    "integer": "a whole number",
    "double": "a number",
    "boolean": "true or false",
    "list": 'a JSON list, like ["a", "b"]',
    "struct": 'a JSON object, like {"a": 1}',
}
_KINDS: Final = {
    "NUMBER_INTEGER": "integer",
    "NUMBER_DOUBLE": "double",
    "BOOLEAN": "boolean",
    "LIST": "list",
    "STRUCT": "struct",
}
_LONG: Final = 60


@dataclass(frozen=True, slots=True)
class Input:
    """One value that a run takes; ``kind`` is string, integer, double, boolean, list or struct."""

    name: str
    kind: str = "string"
    default: str | None = None
    about: str = ""
    required: bool = True
    choices: tuple[str, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether it wants more than a line."""
        text = self.default or ""
        return self.kind in ("list", "struct") or "\n" in text or len(text) > _LONG


def inputs_of_pipeline(package: Obj) -> list[Input]:
    """The inputs that a compiled pipeline declares."""
    spec = package.get("pipeline_spec", package)
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    return [
        Input(
            name,
            _KINDS.get(str(entry.get("parameterType")), "string"),
            text_of(entry["defaultValue"]) if "defaultValue" in entry else None,
            str(entry.get("description") or ""),
            "defaultValue" not in entry and not entry.get("isOptional"),
            tuple(text_of(choice) for choice in entry.get("literals") or ()),
        )
        for name, entry in (definitions.get("parameters") or {}).items()
        if entry.get("parameterType") != "TASK_FINAL_STATUS"
    ]


def inputs_of_template(spec: Obj) -> list[Input]:
    """The parameters of a WorkflowTemplate's spec."""
    return [
        Input(
            str(entry["name"]),
            "string",
            None if entry.get("value") is None else text_of(entry["value"]),
            str(entry.get("description") or ""),
            entry.get("value") is None and not entry.get("valueFrom"),
            tuple(text_of(choice) for choice in entry.get("enum") or ()),
        )
        for entry in (spec.get("arguments") or {}).get("parameters") or ()
    ]


def typed(given: Input, text: str) -> Any:
    """The value that a text means; raises :class:`ValueError` saying what is expected."""
    if given.choices and text not in given.choices:
        raise ValueError(f"must be one of {', '.join(given.choices)}")
    try:
        return _value(given.kind, text)
    except (ValueError, KeyError):
        raise ValueError(f"must be {_SHAPES[given.kind]}") from None


def _value(kind: str, text: str) -> Any:
    match kind:
        case "integer":
            return int(text)
        case "double":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text.lower()]
        case "list" | "struct":
            value = json.loads(text)
            if not isinstance(value, list if kind == "list" else dict):
                raise ValueError
            return value
    return text


def text_of(value: Any) -> str:
    """A value as a form shows it."""
    return value if isinstance(value, str) else json.dumps(value)


def read_inputs(
    inputs: list[Input], given: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the answers, and what is wrong, by input; no answer means the default."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for entry in inputs:
        text = given.get(entry.name, "")
        if text == "" and entry.kind != "string":
            text = entry.default or ""
        if text == "" and entry.required:
            wrong[entry.name] = "is required"
        elif text == "" and (entry.kind != "string" or entry.default is None):
            continue
        else:
            try:
                values[entry.name] = typed(entry, text)
            except ValueError as error:
                wrong[entry.name] = str(error)
    return values, wrong


def without_caching(package: Obj) -> Obj:
    """The pipeline with caching off in every task, as the SDK's ``enable_caching=False``."""
    package = deep_copy(package)
    spec = package.get("pipeline_spec", package)
    for component in (spec.get("root") or {}, *(spec.get("components") or {}).values()):
        for task in ((component.get("dag") or {}).get("tasks") or {}).values():
            task["cachingOptions"] = {}
    return package
