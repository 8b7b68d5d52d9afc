"""A Workflow once more, under a new name; memoized, with what succeeded the first time.

Upstream: ``util.FormulateResubmitWorkflow``. Of a memoized one, steps that succeeded become skipped
nodes that still have their outputs, everything else is to be run.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from kubeling.kube.objects import Obj, deep_copy, format_time
from kubeling.workflows.nodes import node_id
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.submission import override_parameters
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["LABEL_PREVIOUS", "OWN_LABELS", "resubmitted"]

LABEL_PREVIOUS: Final = "workflows.argoproj.io/resubmitted-from-workflow"
OWN_LABELS: Final = tuple(
    f"workflows.argoproj.io/{name}"
    for name in (
        "creator",
        "creator-email",
        "creator-preferred-username",
        "phase",
        "completed",
        "workflow-archiving-status",
    )
)
"""Labels that say something about one Workflow and not about its successors."""

_FAILED: Final = ("Failed", "Error")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def resubmitted(
    workflow: Obj, *, memoized: bool, parameters: Iterable[str], now: dt.datetime
) -> Obj:
    """The new Workflow; a memoized one has a name and a status to be written."""
    metadata, old = workflow["metadata"], workflow.get("status") or {}
    if memoized and old.get("phase") not in _FAILED:
        raise OperationRefused("workflow must be Failed/Error to resubmit in memoized mode")
    spec = _fresh(workflow["spec"])
    override_parameters(spec, parameters)
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k not in OWN_LABELS}
    labels[LABEL_PREVIOUS] = metadata["name"]
    made: Obj = {
        "generateName": metadata.get("generateName") or f"{metadata['name']}-",
        "namespace": metadata.get("namespace", ""),
        "labels": labels,
    }
    for key in ("annotations", "ownerReferences"):
        if metadata.get(key):
            made[key] = deep_copy(metadata[key])
    result: Obj = {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "metadata": made,
        "spec": spec,
    }
    if memoized:
        made["name"] = made["generateName"] + "".join(secrets.choice(_LETTERS) for _ in range(5))
        result["status"] = _memoized(old, metadata["name"], made["name"], format_time(now))
    return result


def _fresh(spec: Obj) -> Obj:
    """The spec without what stopped the Workflow before."""
    copied: Obj = deep_copy(spec)
    copied.pop("shutdown", None)
    if copied.get("activeDeadlineSeconds") == 0:
        copied.pop("activeDeadlineSeconds")
    return copied


def _memoized(old: Obj, before: str, name: str, now: str) -> Obj:
    nodes: dict[str, Obj] = old.get("nodes") or {}
    kept = {key: node for key, node in nodes.items() if _is_kept(node, nodes, before)}
    renamed = {key: _renamed(node["name"], before, name) for key, node in kept.items()}
    ids = {key: node_id(name, new) for key, new in renamed.items()}
    status: Obj = {
        "nodes": {ids[key]: _taken_over(node, renamed[key], ids, now) for key, node in kept.items()}
    }
    for key in ("storedTemplates", "storedWorkflowTemplateSpec"):
        if old.get(key):
            status[key] = deep_copy(old[key])
    return status


def _is_kept(node: Obj, nodes: Mapping[str, Obj], before: str) -> bool:
    if node["name"].startswith(f"{before}.onExit"):
        return False
    if node.get("phase") in _FAILED and (node.get("nodeFlag") or {}).get("retried"):
        # Attempts are counted anew.
        return False
    return node.get("type") != "Skipped" or _led_to_success(node, nodes)


def _led_to_success(node: Obj, nodes: Mapping[str, Obj]) -> bool:
    waiting, seen = list(node.get("children") or ()), set[str]()
    while waiting:
        key = waiting.pop()
        if key in seen or key not in nodes:
            continue
        seen.add(key)
        if nodes[key].get("phase") == "Succeeded":
            return True
        waiting += nodes[key].get("children") or ()
    return False


def _renamed(name: str, before: str, after: str) -> str:
    return after + name.removeprefix(before)


def _taken_over(node: Obj, name: str, ids: Mapping[str, str], now: str) -> Obj:
    new: Obj = {**deep_copy(node), "name": name, "id": ids[node["id"]]}
    if node.get("boundaryID"):
        new["boundaryID"] = ids[node["boundaryID"]]
    for key in ("children", "outboundNodes"):
        new[key] = [ids[child] for child in node.get(key) or () if child in ids]
    failed, is_pod = node.get("phase") in _FAILED, node.get("type") == "Pod"
    if failed and is_pod:
        new.pop("startedAt", None)
        new.pop("finishedAt", None)
    else:
        new["startedAt"] = new["finishedAt"] = now
    if is_pod and not failed:
        new.update(phase="Skipped", type="Skipped", message=f"original pod: {node['id']}")
    else:
        new["phase"] = "Pending"
        for key in ("message", "finishedAt"):
            new.pop(key, None)
    if node["name"] == node["id"]:
        new["displayName"] = name
    return new
