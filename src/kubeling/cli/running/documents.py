"""What a file asks to run: a compiled pipeline, a Workflow, or stages. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubeling.cli.errors import CliError
from kubeling.kube import yaml
from kubeling.kube.objects import Obj, deep_copy

__all__ = [
    "Documents",
    "pairs",
    "pipeline_parameters",
    "read_documents",
    "with_arguments",
    "without_caching",
]


class Documents:
    """The documents of a file, and what kind of run they describe."""

    def __init__(self, found: Sequence[Any]) -> None:
        self.found = [document for document in found if document is not None]

    @property
    def pipeline(self) -> Obj | None:
        """A compiled pipeline, wrapped with its platform settings if it has any."""
        first = self.found[0] if self.found else None
        if not isinstance(first, Mapping):
            return None
        if "pipeline_spec" in first:
            return dict(first)
        if "pipelineInfo" not in first:
            return None
        if len(self.found) > 1 and isinstance(self.found[1], Mapping):
            return {"pipeline_spec": dict(first), "platform_spec": dict(self.found[1])}
        return dict(first)

    @property
    def workflow(self) -> Obj | None:
        first = self._only()
        is_workflow = first is not None and first.get("kind") == "Workflow"
        return dict(first) if first is not None and is_workflow else None

    @property
    def stages(self) -> Obj | None:
        first = self._only()
        return dict(first) if first is not None and "stages" in first else None

    def _only(self) -> Mapping[str, Any] | None:
        first = self.found[0] if len(self.found) == 1 else None
        return first if isinstance(first, Mapping) else None

    def unknown(self, file: str) -> CliError:
        """What to say of a file that is none of these."""
        first = self.found[0] if self.found else None
        kind = first.get("kind") if isinstance(first, Mapping) else None
        if kind:
            return CliError(
                f"{file}: a {kind} is not something to run", f"Apply it: kubeling apply -f {file}"
            )
        return CliError(
            f"{file}: neither a compiled pipeline, a Workflow nor a file of stages",
            "See: kubeling run --help",
        )


def read_documents(text: str, file: str) -> Documents:
    """The documents of a YAML or JSON file."""
    try:
        return Documents(list(yaml.load_all(text)))
    except ValueError as error:
        raise CliError(f"{file}: {error}") from None


def pairs(words: Iterable[str]) -> dict[str, str]:
    """``name=value`` words, each name once."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CliError(f"-p {word}: expected name=value")
        if name in found:
            raise CliError(f"-p {name}: given twice")
        found[name] = value
    return found


def pipeline_parameters(package: Obj, given: Mapping[str, str]) -> Obj:
    """The parameters in the types that the pipeline declares; names what is wrong or missing."""
    spec = package.get("pipeline_spec", package)
    inputs = (spec.get("root") or {}).get("inputDefinitions") or {}
    declared: Obj = inputs.get("parameters") or {}
    if unknown := [name for name in given if name not in declared]:
        known = ", ".join(declared) or "none"
        raise CliError(f'the pipeline has no parameter "{unknown[0]}"', f"It has: {known}.")
    missing = [
        f"{name} ({_words(entry)})"
        for name, entry in declared.items()
        if name not in given and "defaultValue" not in entry and not entry.get("isOptional")
    ]
    if missing:
        example = missing[0].partition(" ")[0]
        raise CliError(
            f"the pipeline needs {', '.join(missing)}", f"Give each a value: -p {example}=VALUE"
        )
    return {name: _typed(name, text, declared[name]) for name, text in given.items()}


def _words(entry: Obj) -> str:
    kind = str(entry.get("parameterType", "STRING")).replace("NUMBER_", "").lower()
    about = entry.get("description")
    return f"{kind}: {about}" if about else kind


def _typed(name: str, text: str, entry: Obj) -> Any:
    kind = entry.get("parameterType", "STRING")
    try:
        match kind:
            case "NUMBER_INTEGER":
                return int(text)
            case "NUMBER_DOUBLE":
                return float(text)
            case "BOOLEAN":
                return {"true": True, "false": False}[text.lower()]
            case "LIST" | "STRUCT":
                value = json.loads(text)
                if isinstance(value, list if kind == "LIST" else dict):
                    return value
                raise ValueError
            case _:
                return text
    except (ValueError, KeyError):
        shape = {
            "NUMBER_INTEGER": "a whole number",
            "NUMBER_DOUBLE": "a number",
            "BOOLEAN": "true or false",
            "LIST": 'a JSON list, like ["a", "b"]',
            "STRUCT": 'a JSON object, like {"a": 1}',
        }[kind]
        raise CliError(f"-p {name}={text}: Invalid value: must be {shape}") from None


def without_caching(package: Obj) -> Obj:
    """The pipeline with caching off in every task, as the SDK's ``enable_caching=False``."""
    package = deep_copy(package)
    spec = package.get("pipeline_spec", package)
    for component in (spec.get("root") or {}, *(spec.get("components") or {}).values()):
        for task in ((component.get("dag") or {}).get("tasks") or {}).values():
            task["cachingOptions"] = {}
    return package


def with_arguments(workflow: Obj, given: Mapping[str, str], name: str) -> Obj:
    """A Workflow with values for its parameters, and another name."""
    workflow = deep_copy(workflow)
    metadata = workflow.setdefault("metadata", {})
    if name:
        metadata.pop("generateName", None)
        metadata["name"] = name
    spec = workflow.setdefault("spec", {})
    arguments = spec.setdefault("arguments", {})
    declared = {p.get("name"): p for p in arguments.get("parameters") or ()}
    unknown = [key for key in given if key not in declared]
    if unknown and "workflowTemplateRef" not in spec:
        known = ", ".join(str(key) for key in declared) or "none"
        raise CliError(f'the workflow has no parameter "{unknown[0]}"', f"It has: {known}.")
    for key, value in given.items():
        declared[key] = {"name": key, "value": value}
    if declared:
        arguments["parameters"] = list(declared.values())
    return workflow
