"""The variables a Workflow and its nodes define."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.places import place_of
from kubeling.workflows.resources import Inputs, Node, Outputs

__all__ = [
    "artifact_values",
    "failures",
    "input_values",
    "loop_values",
    "node_values",
    "parameter_text",
    "workflow_values",
]

_STRFTIME: Final = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%"


def parameter_text(value: Any) -> str:
    """A parameter's value as text; objects and lists become JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode()


def workflow_values(workflow: Obj, spec: Obj, parameters: Mapping[str, str]) -> dict[str, str]:
    """``workflow.*`` as far as it is known from the start."""
    metadata = workflow["metadata"]
    values = {
        "workflow.name": metadata["name"],
        "workflow.namespace": metadata.get("namespace", ""),
        "workflow.uid": metadata.get("uid", ""),
        "workflow.mainEntrypoint": spec.get("entrypoint", ""),
        "workflow.serviceAccountName": spec.get("serviceAccountName", ""),
        "workflow.parameters": _named_json(parameters),
        "workflow.parameters.json": _named_json(parameters),
        "workflow.status": "Running",
    }
    if spec.get("priority") is not None:
        values["workflow.priority"] = str(spec["priority"])
    values.update({f"workflow.parameters.{name}": text for name, text in parameters.items()})
    for kind in ("labels", "annotations"):
        found = metadata.get(kind) or {}
        values[f"workflow.{kind}"] = values[f"workflow.{kind}.json"] = parameter_text(found)
        values.update({f"workflow.{kind}.{name}": text for name, text in found.items()})
    scheduled = (metadata.get("annotations") or {}).get("workflows.argoproj.io/scheduled-time")
    if scheduled:
        values["workflow.scheduledTime"] = scheduled
    if created := metadata.get("creationTimestamp"):
        values.update(_moments("workflow.creationTimestamp", created))
    return values


def input_values(inputs: Inputs | None) -> dict[str, str]:
    """``inputs.*`` of a template, from its resolved inputs."""
    values: dict[str, str] = {}
    if inputs is None:
        return values
    for parameter in inputs.parameters:
        if parameter.value is not None:
            values[f"inputs.parameters.{parameter.name}"] = parameter_text(parameter.value)
    known = {p.name: parameter_text(p.value) for p in inputs.parameters if p.value is not None}
    values["inputs.parameters"] = _named_json(known)
    for artifact in inputs.artifacts:
        if artifact.path:
            values[f"inputs.artifacts.{artifact.name}.path"] = artifact.path
    return values


def node_values(prefix: str, node: Node) -> dict[str, str]:
    """``steps.NAME.*`` or ``tasks.NAME.*`` of one node."""
    values = {
        f"{prefix}.id": node.id,
        f"{prefix}.status": node.phase,
    }
    for field, text in (
        ("startedAt", node.started_at),
        ("finishedAt", node.finished_at),
        ("hostNodeName", node.host_node_name),
        ("ip", node.pod_ip),
    ):
        if text:
            values[f"{prefix}.{field}"] = text
    if node.outputs is not None:
        values.update(_output_values(prefix, node.outputs))
    return values


def _output_values(prefix: str, outputs: Outputs) -> dict[str, str]:
    values: dict[str, str] = {}
    if outputs.exit_code:
        values[f"{prefix}.exitCode"] = outputs.exit_code
        values[f"{prefix}.outputs.exitCode"] = outputs.exit_code
    if outputs.result is not None:
        values[f"{prefix}.outputs.result"] = outputs.result
    for parameter in outputs.parameters:
        if parameter.value is not None:
            values[f"{prefix}.outputs.parameters.{parameter.name}"] = parameter_text(
                parameter.value
            )
    return values


def artifact_values(prefix: str, outputs: Outputs | None) -> dict[str, Obj]:
    """The artifacts of a node by the names that refer to them."""
    found = [msgspec.to_builtins(a) for a in outputs.artifacts] if outputs is not None else []
    return {
        f"{prefix}.outputs.artifacts.{artifact['name']}": artifact
        for artifact in found
        if place_of(artifact) is not None
    }


def loop_values(prefix: str, nodes: Sequence[Node]) -> dict[str, str]:
    """What the iterations of a loop gave, as JSON lists; those without outputs are left out."""
    results: list[Any] = []
    parameters: list[dict[str, str]] = []
    for node in nodes:
        if node.outputs is None:
            continue
        if node.outputs.result is not None:
            results.append(_decoded(node.outputs.result))
        named = {
            p.name: parameter_text(p.value) for p in node.outputs.parameters if p.value is not None
        }
        if named:
            parameters.append(named)
    values: dict[str, str] = {}
    if results:
        values[f"{prefix}.outputs.result"] = parameter_text(results)
    if parameters:
        values[f"{prefix}.outputs.parameters"] = parameter_text(parameters)
        names = dict.fromkeys(name for named in parameters for name in named)
        for name in names:
            listed = [_decoded(named[name]) for named in parameters if name in named]
            values[f"{prefix}.outputs.parameters.{name}"] = parameter_text(listed)
    return values


def failures(workflow: str, nodes: Sequence[Node]) -> str:
    """``workflow.failures``: what failed, a JSON list as a JSON string, ``null`` if nothing did."""
    listed = [
        {
            "displayName": node.display_name,
            "message": node.message,
            "templateName": _template_name(node),
            "phase": node.phase,
            "podName": pod_name(workflow, node.name, _template_name(node)),
            "finishedAt": node.finished_at,
        }
        for node in nodes
        if node.phase in ("Failed", "Error")
    ]
    return json.dumps(msgspec.json.encode(listed or None).decode(), ensure_ascii=False)


def _template_name(node: Node) -> str:
    return node.template_ref.template if node.template_ref is not None else node.template_name


def _decoded(text: str) -> Any:
    """A text as the JSON value it spells, or itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _named_json(values: Mapping[str, str]) -> str:
    return parameter_text([{"name": name, "value": text} for name, text in values.items()])


def _moments(prefix: str, created: str) -> dict[str, str]:
    moment = parse_time(created)
    values = {
        prefix: created,
        f"{prefix}.RFC3339": created,
        f"{prefix}.s": str(int(moment.timestamp())),
    }
    for letter in _STRFTIME:
        values.setdefault(f"{prefix}.{letter}", _strftime(moment, letter))
    return values


def _strftime(moment: dt.datetime, letter: str) -> str:
    return moment.strftime(f"%{letter}")
