"""What a file asks to run: a compiled pipeline, a Workflow, or stages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubeling.cli.errors import CliError
from kubeling.gateway.inputs import inputs_of_pipeline, typed
from kubeling.kube import yaml
from kubeling.kube.objects import Obj, deep_copy

__all__ = [
    "Documents",
    "pairs",
    "pipeline_parameters",
    "read_documents",
    "with_arguments",
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
        if first.get("kind") == "Run":
            return self._of_run(first.get("spec") or {})
        if "pipelineInfo" not in first:
            return None
        if len(self.found) > 1 and isinstance(self.found[1], Mapping):
            return {"pipeline_spec": dict(first), "platform_spec": dict(self.found[1])}
        return dict(first)

    @staticmethod
    def _of_run(spec: Mapping[str, Any]) -> Obj | None:
        """The pipeline of a Run's manifest, with the Run's parameters as its defaults."""
        if "pipelineSpec" not in spec:
            return None
        package: Obj = deep_copy(dict(spec["pipelineSpec"]))
        inputs = (package.get("root") or {}).get("inputDefinitions") or {}
        given = (spec.get("runtimeConfig") or {}).get("parameters") or {}
        for name, entry in (inputs.get("parameters") or {}).items():
            if name in given:
                entry["defaultValue"] = given[name]
        if platform := spec.get("platformSpec"):
            return {"pipeline_spec": package, "platform_spec": platform}
        return package

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
                f"{file}: {kind} is not something to run", f"Apply it: kubeling apply -f {file}"
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
    declared = {entry.name: entry for entry in inputs_of_pipeline(package)}
    if unknown := [name for name in given if name not in declared]:
        known = ", ".join(declared) or "none"
        raise CliError(f'the pipeline has no parameter "{unknown[0]}"', f"It has: {known}.")
    missing = [e for e in declared.values() if e.required and e.name not in given]
    if missing:
        words = ", ".join(f"{e.name} ({e.kind}{f': {e.about}' * bool(e.about)})" for e in missing)
        raise CliError(f"the pipeline needs {words}", f"Say it with: -p {missing[0].name}=VALUE")
    values: Obj = {}
    for name, text in given.items():
        try:
            values[name] = typed(declared[name], text)
        except ValueError as error:
            raise CliError(f"-p {name}={text}: Invalid value: {error}") from None
    return values


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
