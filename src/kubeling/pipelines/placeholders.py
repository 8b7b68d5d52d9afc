"""Placeholders in commands and values: ``{{$.inputs.parameters['x']}}`` and its relatives.

An argument may also be a JSON structure, ``{"Concat": […]}`` or ``{"IfPresent": {…}}``. Structures
are taken apart first and placeholders replaced in the pieces, so a value with quotes in it cannot
change the structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.artifacts.store import local_path
from kubeling.kube.objects import Obj
from kubeling.pipelines.launcher import MOUNTED
from kubeling.pipelines.model_images import is_model_image, model_folder
from kubeling.pipelines.values import to_text
from kubeling.pipelines.workspace import IN_WORKSPACE, WORKSPACE, workspace_artifact

__all__ = ["PlaceholderError", "PlaceholderScope", "artifact_path", "resolve", "resolve_arguments"]

_PLACEHOLDER: Final = re.compile(r"\{\{\$(?:\.(.*?))?\}\}")
_INPUT_PARAMETER: Final = re.compile(r"inputs\.parameters\[(['\"])(.+?)\1\]")
_ARTIFACT: Final = re.compile(
    r"(inputs|outputs)\.artifacts\[(['\"])(.+?)\2\]"
    r"(?:\.(?:(path|uri|name)|metadata(?:\[(['\"])(.+?)\5\])?))?"
)
_OUTPUT_FILE: Final = re.compile(r"outputs\.parameters\[(['\"])(.+?)\1\]\.output_file")
_STRUCTURES: Final = ('{"Concat":', '{"IfPresent":')
_MOUNTED: Final = {f"{s}://": f"/{folder}/" for s, folder in MOUNTED.items()}


class PlaceholderError(ValueError):
    """A placeholder cannot be resolved; the message names it."""


@dataclass(frozen=True, slots=True)
class PlaceholderScope:
    """What placeholders refer to: an ExecutorInput, and facts about the run by name."""

    executor_input: Obj
    job: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> Obj:
        found: Obj = (self.executor_input.get("inputs") or {}).get("parameterValues") or {}
        return found

    def artifacts(self, side: str, name: str) -> list[Obj]:
        entry = ((self.executor_input.get(side) or {}).get("artifacts") or {}).get(name) or {}
        found: list[Obj] = entry.get("artifacts") or []
        return found

    def is_present(self, name: str) -> bool:
        """Whether an input of that name was given."""
        return self.parameters.get(name) is not None or bool(self.artifacts("inputs", name))


def artifact_path(artifact: Mapping[str, Any]) -> str:
    """Where a step finds an artifact, by the kfp SDK's rules."""
    path = _path_of(artifact)
    if (artifact.get("metadata") or {}).get(IN_WORKSPACE) is True:
        return workspace_artifact(WORKSPACE, path)
    return path


def _path_of(artifact: Mapping[str, Any]) -> str:
    uri = str(artifact.get("uri") or "")
    if is_model_image(uri):
        return f"{model_folder(uri)}/models"
    if (path := local_path(uri)) is not None:
        return str(path)
    for scheme, folder in _MOUNTED.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    return uri


def resolve(text: str, scope: PlaceholderScope) -> str:
    """The text with all placeholders replaced; raises :class:`PlaceholderError`."""
    if "{{$" not in text:
        return text
    return _PLACEHOLDER.sub(lambda match: _value(match, scope), text)


def resolve_arguments(arguments: Iterable[str], scope: PlaceholderScope) -> list[str]:
    """A command line with structures and placeholders replaced."""
    found: list[str] = []
    for argument in arguments:
        if argument.startswith(_STRUCTURES):
            try:
                structure = msgspec.json.decode(argument)
            except msgspec.DecodeError as error:
                raise PlaceholderError(f"{argument[:80]}: {error}") from None
            found += _pieces(structure, scope)
        else:
            found.append(resolve(argument, scope))
    return found


def _pieces(structure: Any, scope: PlaceholderScope) -> list[str]:
    match structure:
        case None:
            return []
        case str():
            return [resolve(structure, scope)]
        case list():
            return [piece for part in structure for piece in _pieces(part, scope)]
        case {"Concat": list(parts)}:
            return ["".join(_pieces(parts, scope))]
        case {"IfPresent": dict(choice)}:
            name = str(choice.get("InputName") or choice.get("inputName") or "")
            given = scope.is_present(name)
            chosen = ("Then", "then") if given else ("Else", "else")
            return _pieces(choice.get(chosen[0], choice.get(chosen[1])), scope)
        case _:
            raise PlaceholderError(f"{to_text(structure)[:80]}: Concat or IfPresent is expected")


def _value(match: re.Match[str], scope: PlaceholderScope) -> str:
    inner = match[1]
    if inner is None:
        return msgspec.json.encode(scope.executor_input).decode()
    if found := _INPUT_PARAMETER.fullmatch(inner):
        return _parameter(found[2], scope)
    if found := _OUTPUT_FILE.fullmatch(inner):
        outputs = (scope.executor_input.get("outputs") or {}).get("parameters") or {}
        if found[2] in outputs:
            return str(outputs[found[2]]["outputFile"])
    if found := _ARTIFACT.fullmatch(inner):
        return _artifact(found, scope)
    if inner in ("outputs.output_file", "outputMetadataUri"):
        return str((scope.executor_input.get("outputs") or {}).get("outputFile", ""))
    if inner in scope.job:
        return scope.job[inner]
    raise PlaceholderError(f"{match[0]} refers to nothing that this task has")


def _parameter(name: str, scope: PlaceholderScope) -> str:
    value = scope.parameters.get(name)
    return "" if value is None else to_text(value)


def _artifact(match: re.Match[str], scope: PlaceholderScope) -> str:
    side, name, part, key = match[1], match[3], match[4], match[6]
    artifacts = scope.artifacts(side, name)
    if not artifacts:
        return ""
    first = artifacts[0]
    if part == "path":
        return artifact_path(first)
    if part is not None:
        return str(first.get(part) or "")
    metadata = first.get("metadata") or {}
    if key is not None:
        return _text_or_empty(metadata.get(key))
    if match[0].endswith(".metadata"):
        return to_text(metadata)
    return to_text(first if len(artifacts) == 1 else artifacts)


def _text_or_empty(value: Any) -> str:
    return "" if value is None else to_text(value)
