"""What changes a Workflow under way: suspend, resume, stop, and setting what it waits for.

Upstream: ``util.SuspendWorkflow``, ``ResumeWorkflow``, ``StopWorkflow``, ``SetWorkflow``. Each
takes a Workflow with its nodes and changes it in place; the caller writes it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from kubeling.kube.objects import Obj, format_time
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.node_selectors import parse_node_selector

__all__ = ["NodeChange", "change_nodes", "is_suspended", "resume", "shut_down", "suspend"]

_FINAL: Final = ("Succeeded", "Failed", "Error")
_ENDS: Final = ("Succeeded", "Failed", "Error", "Skipped", "Omitted")
_SETTABLE: Final = ("", "Succeeded", "Failed", "Error")


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What is set on a suspended node."""

    phase: str = ""
    message: str = ""
    output_parameters: Mapping[str, str] = field(default_factory=dict)


def is_suspended(workflow: Obj) -> bool:
    """Whether it waits for somebody to resume it."""
    return bool(workflow["spec"].get("suspend")) or any(
        _waits(node) for node in _nodes(workflow).values()
    )


def suspend(workflow: Obj) -> None:
    """No further steps start."""
    if _phase(workflow) in _FINAL:
        raise OperationRefused("cannot suspend completed workflows")
    workflow["spec"]["suspend"] = True


def resume(workflow: Obj, now: dt.datetime) -> None:
    """Goes on: the Workflow itself, and every node that waits to be resumed."""
    workflow["spec"].pop("suspend", None)
    for node in _nodes(workflow).values():
        if _waits(node):
            _take_defaults(node)
            node["phase"] = "Succeeded"
            node["finishedAt"] = format_time(now)


def shut_down(workflow: Obj, strategy: Literal["Stop", "Terminate"]) -> None:
    """Ends it, with exit handlers (``Stop``) or without (``Terminate``)."""
    if _phase(workflow) in _FINAL:
        metadata = workflow["metadata"]
        raise OperationRefused(
            f'cannot shutdown a completed workflow: workflow: "{metadata["name"]}", '
            f'namespace: "{metadata.get("namespace", "")}"'
        )
    workflow["spec"]["shutdown"] = strategy


def change_nodes(
    workflow: Obj, node_field_selector: str, change: NodeChange, now: dt.datetime
) -> None:
    """Sets phase, message or outputs of the suspended nodes the selector matches."""
    if not node_field_selector:
        raise OperationRefused(
            "'set' currently only targets suspend nodes, use a node field selector to target them"
        )
    if change.phase not in _SETTABLE:
        raise OperationRefused(f"{change.phase} is an invalid phase to set to")
    selector = parse_node_selector(node_field_selector)
    found = [n for n in _nodes(workflow).values() if _waits(n) and selector.matches(n)]
    if not found or change == NodeChange():
        raise OperationRefused(
            "currently, set only targets suspend nodes: no suspend nodes matching "
            f"nodeFieldSelector: {node_field_selector}"
        )
    for node in found:
        _change(workflow, node, change, now)


def _change(workflow: Obj, node: Obj, change: NodeChange, now: dt.datetime) -> None:
    if change.phase:
        node["phase"] = change.phase
        node["finishedAt"] = format_time(now)
    if change.message:
        node["message"] = change.message
    for name, value in change.output_parameters.items():
        _supply(workflow, node, name, value)


def _supply(workflow: Obj, node: Obj, name: str, value: str) -> None:
    if node.get("outputs") is None:
        raise OperationRefused(
            "cannot set output parameters because node is not expecting any raw parameters"
        )
    for parameter in node["outputs"].get("parameters") or ():
        if parameter["name"] == name:
            if (parameter.get("valueFrom") or {}).get("supplied") is None:
                raise OperationRefused(
                    f"cannot set output parameter '{name}' because it does not use valueFrom.raw "
                    "or it was already set"
                )
            parameter["value"] = value
            parameter.pop("valueFrom")
            if parameter.get("globalName"):
                _publish(workflow, parameter["globalName"], value)
            return
    raise OperationRefused(f"node is not expecting output parameter '{name}'")


def _publish(workflow: Obj, name: str, value: str) -> None:
    outputs = workflow["status"].setdefault("outputs", {})
    kept = [p for p in outputs.get("parameters") or () if p["name"] != name]
    outputs["parameters"] = [*kept, {"name": name, "value": value}]


def _take_defaults(node: Obj) -> None:
    for parameter in (node.get("outputs") or {}).get("parameters") or ():
        source = parameter.get("valueFrom") or {}
        if source.get("supplied") is None:
            continue
        if source.get("default") is None:
            raise OperationRefused(
                f"raw output parameter '{parameter['name']}' has not been set and does not have a "
                "default value"
            )
        parameter["value"] = source["default"]
        parameter.pop("valueFrom")


def _waits(node: Obj) -> bool:
    return node.get("type") == "Suspend" and node.get("phase") not in _ENDS


def _nodes(workflow: Obj) -> dict[str, Obj]:
    nodes: dict[str, Obj] = (workflow.get("status") or {}).get("nodes") or {}
    return nodes


def _phase(workflow: Obj) -> str:
    return str((workflow.get("status") or {}).get("phase") or "")
