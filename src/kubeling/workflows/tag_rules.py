"""Whether the tags of a template mean something where they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import ExpressionError, exprlang, tags
from kubeling.workflows.expressions.tags import Tag

__all__ = ["Known", "tag_errors"]

_WORKFLOW: Final = frozenset(
    {"annotations", "creationTimestamp", "duration", "failures", "labels", "mainEntrypoint", "name",
     "namespace", "outputs", "parameters", "priority", "scheduledTime", "serviceAccountName",
     "status", "uid"}
)  # fmt: skip
_ANYWHERE: Final = frozenset({"cronworkflow", "lastRetry", "node", "outputs", "pod", "retries"})


@dataclass(frozen=True, slots=True)
class Known:
    """The variables within reach.

    ``calls`` maps the steps or tasks that have ended by then to the output parameters and
    artifacts of their templates (``None``: a template from elsewhere). ``workflow_parameters`` is
    ``None`` where the Workflow may bring more.
    """

    workflow_parameters: Collection[str] | None = None
    input_parameters: Collection[str] = ()
    input_artifacts: Collection[str] = ()
    calls: Mapping[str, Obj | None] = field(default_factory=dict)
    prefix: str = ""
    item: bool = False


def tag_errors(value: Any, path: str, known: Known) -> Iterator[FieldError]:
    """What is wrong with the tags in a JSON value."""
    if isinstance(value, str):
        for part in tags.parse(value) if "{{" in value else ():
            if isinstance(part, Tag) and part.known:
                problem = _problem(part, known)
                if problem:
                    yield FieldError(
                        path, "Invalid value", f"failed to resolve {part.text}: {problem}"
                    )
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from tag_errors(member, f"{path}.{key}", known)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from tag_errors(member, f"{path}[{number}]", known)


def _problem(tag: Tag, known: Known) -> str:
    """Why a tag has no value; empty if it may have one."""
    if tag.expression:
        try:
            exprlang.compile_expression(tag.body)
        except ExpressionError as error:
            return str(error)
        return ""
    if "{{" in tag.body:
        return ""
    root, *rest = tag.body.split(".")
    match root:
        case "inputs":
            return _input_problem(rest, known)
        case "workflow":
            return _workflow_problem(rest, known)
        case "item":
            return "" if known.item else "only steps with withItems, withParam or withSequence have"
        case "steps" | "tasks":
            return _call_problem(root, rest, known)
    return "" if root in _ANYWHERE else "there is no such variable"


def _input_problem(rest: list[str], known: Known) -> str:
    match rest:
        case ["parameters"]:
            return ""
        case ["parameters", *name]:
            return _unknown("input parameter", ".".join(name), known.input_parameters)
        case ["artifacts", name, *_]:
            return _unknown("input artifact", name, known.input_artifacts)
    return "write inputs.parameters.NAME or inputs.artifacts.NAME"


def _workflow_problem(rest: list[str], known: Known) -> str:
    if not rest or rest[0] not in _WORKFLOW:
        return f"workflow has {', '.join(sorted(_WORKFLOW))}"
    if rest[0] == "parameters" and len(rest) > 1 and rest[1:] != ["json"]:
        if known.workflow_parameters is None:
            return ""
        name = ".".join(rest[1:])
        if name not in known.workflow_parameters:
            return f'declare "{name}" in spec.arguments.parameters'
    return ""


def _call_problem(root: str, rest: list[str], known: Known) -> str:
    if rest == ["name"]:
        return ""
    if root != known.prefix:
        place = "a steps template" if root == "steps" else "a dag template"
        return f"{root} is only known inside {place}"
    if not rest or rest[0] not in known.calls:
        noun = "step of an earlier group" if root == "steps" else "task this one depends on"
        return f'"{rest[0] if rest else ""}" is not a {noun}'
    outputs = known.calls[rest[0]]
    if outputs is None:
        return ""
    match rest[1:]:
        case ["outputs", "parameters", name]:
            return _unknown("output parameter of the template", name, _names(outputs, "parameters"))
        case ["outputs", "artifacts", name, *_]:
            return _unknown("output artifact of the template", name, _names(outputs, "artifacts"))
    return ""


def _names(outputs: Obj, kind: str) -> list[str]:
    return [str(entry.get("name")) for entry in outputs.get(kind) or ()]


def _unknown(noun: str, name: str, names: Collection[str]) -> str:
    if name in names:
        return ""
    listed = ", ".join(sorted(names)) or "none"
    return f'"{name}" is not an {noun} (there are: {listed})'
