"""A finished Workflow set back, so that what failed runs again and what succeeded stays.

Upstream: ``util.FormulateRetryWorkflow``. The nodes of failed steps and all that came after them
are taken away; the nodes around them (loops, step groups, dags, retries) run again. Upstream also
sets back groups that lie on the way without being around; we leave those as they are. Steps that
were omitted because of a failure are decided anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Obj, deep_copy, format_time, set_condition
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.node_selectors import parse_node_selector, template_of
from kubeling.workflows.operations.submission import override_parameters

__all__ = ["Retry", "retried"]

_FAILED: Final = ("Failed", "Error")
_EXECUTED: Final = ("Pod", "Container", "HTTP", "Plugin")
_AROUND: Final = ("Retry", "StepGroup", "TaskGroup", "Pod")
_GROUPS: Final = ("StepGroup", "TaskGroup")
_ENDED: Final = ("completed", "workflow-archiving-status")
_OF_THE_END: Final = ("phase", "message", "finishedAt", "persistentVolumeClaims")


@dataclass(frozen=True, slots=True)
class Retry:
    """The Workflow as it is to be written, and the pods that have to go before."""

    workflow: Obj
    pods: list[str]


def retried(
    workflow: Obj,
    *,
    restart_successful: bool,
    node_field_selector: str,
    parameters: Iterable[str],
    now: dt.datetime,
) -> Retry:
    """Sets a Workflow back; ``restart_successful`` also what the selector matches."""
    _check(workflow, restart_successful, node_field_selector)
    tree = _Tree(workflow)
    chosen = tree.failed()
    if restart_successful and node_field_selector:
        selector = parse_node_selector(node_field_selector)
        chosen |= {key for key, node in tree.nodes.items() if selector.matches(node)}
        chosen |= tree.failed(chosen)
    gone = tree.with_descendants(chosen)
    reset = tree.around(chosen) - gone
    given = list(parameters)
    if given:
        groups = {key for key in reset if tree.nodes[key].get("type") in _GROUPS}
        gone |= tree.with_descendants(groups) - groups
    gone |= tree.omitted_after(reset) | tree.exit_nodes()
    reset -= gone
    return Retry(_written(workflow, tree, gone, reset, given, now), tree.pods_of(gone))


def _check(workflow: Obj, restart_successful: bool, selector: str) -> None:
    phase = (workflow.get("status") or {}).get("phase") or ""
    if phase == "Succeeded":
        if not (restart_successful and selector):
            raise OperationRefused(
                "To retry a succeeded workflow, set the options restartSuccessful and "
                "nodeFieldSelector"
            )
    elif phase not in _FAILED:
        raise OperationRefused(f"Cannot retry a workflow in phase {phase or 'Pending'}")


class _Tree:
    """The nodes of a Workflow, and who is around whom."""

    def __init__(self, workflow: Obj) -> None:
        self.name: str = workflow["metadata"]["name"]
        self.nodes: dict[str, Obj] = (workflow.get("status") or {}).get("nodes") or {}
        self._parents: dict[str, list[str]] = {}
        for key, node in self.nodes.items():
            for child in node.get("children") or ():
                self._parents.setdefault(child, []).append(key)

    def failed(self, doomed: Iterable[str] = ()) -> set[str]:
        """Steps that failed, except where something after them succeeded in spite of it."""
        found = set()
        for key, node in self.nodes.items():
            if node.get("phase") not in _FAILED or node.get("type") not in _EXECUTED:
                continue
            attempt = (node.get("nodeFlag") or {}).get("retried")
            start = self._retry_around(key) if attempt else key
            after = self.with_descendants([start]) - {start}
            succeeded = (self.nodes[k].get("phase") == "Succeeded" for k in after - set(doomed))
            if not any(succeeded):
                found.add(key)
        return found

    def with_descendants(self, keys: Iterable[str]) -> set[str]:
        """These nodes and all that came after them."""
        found, waiting = set[str](), list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found and key in self.nodes:
                found.add(key)
                waiting += self.nodes[key].get("children") or ()
        return found

    def around(self, keys: Iterable[str]) -> set[str]:
        """The nodes that contain these, up to the outermost."""
        found, waiting = set[str](), list(keys)
        while waiting:
            key = waiting.pop()
            outer = [
                parent
                for parent in self._parents.get(key, ())
                if self.nodes[parent].get("type") in _AROUND and self._contains(parent, key)
            ]
            boundary = self.nodes[key].get("boundaryID")
            if boundary in self.nodes:
                outer.append(boundary)
            waiting += [key for key in outer if key not in found]
            found.update(outer)
        return found

    def omitted_after(self, keys: Iterable[str]) -> set[str]:
        """Steps that were left out because something among these failed."""
        after = self.with_descendants(keys)
        return {key for key in after if self.nodes[key].get("phase") == "Omitted"}

    def exit_nodes(self) -> set[str]:
        """What ran when the Workflow ended."""
        prefix = f"{self.name}.onExit"
        starts = [key for key, node in self.nodes.items() if node["name"].startswith(prefix)]
        return self.with_descendants(starts)

    def pods_of(self, keys: Iterable[str]) -> list[str]:
        """The names of the pods of these nodes."""
        nodes = (self.nodes[key] for key in keys)
        return sorted(
            pod_name(self.name, node["name"], template_of(node))
            for node in nodes
            if node.get("type") == "Pod"
        )

    def _contains(self, parent: str, key: str) -> bool:
        """Names nest: what merely follows a loop, a step group or a pod is not inside it."""
        outer, inner = str(self.nodes[parent]["name"]), str(self.nodes[key]["name"])
        return inner.startswith((f"{outer}(", f"{outer}."))

    def _retry_around(self, key: str) -> str:
        for parent in self._parents.get(key, ()):
            if self.nodes[parent].get("type") == "Retry":
                return parent
        return key


def _written(
    workflow: Obj,
    tree: _Tree,
    gone: set[str],
    reset: set[str],
    parameters: list[str],
    now: dt.datetime,
) -> Obj:
    new: Obj = {**workflow, "metadata": deep_copy(workflow["metadata"])}
    labels = new["metadata"].get("labels") or {}
    for label in _ENDED:
        labels.pop(f"workflows.argoproj.io/{label}", None)
    spec = new["spec"] = deep_copy(workflow["spec"])
    spec.pop("shutdown", None)
    if spec.get("activeDeadlineSeconds") == 0:
        spec.pop("activeDeadlineSeconds")
    override_parameters(spec, parameters)
    status = {k: v for k, v in workflow["status"].items() if k not in _OF_THE_END}
    status["conditions"] = deep_copy(status.get("conditions") or [])
    set_condition(status, "Completed", False, now=now)
    status["startedAt"] = format_time(now)
    status["nodes"] = {
        key: _kept(node, gone, format_time(now) if key in reset else "")
        for key, node in tree.nodes.items()
        if key not in gone
    }
    new["status"] = status
    return new


def _kept(node: Obj, gone: set[str], restarted: str) -> Obj:
    new: Obj = deep_copy(node)
    for key in ("children", "outboundNodes"):
        if new.get(key):
            new[key] = [child for child in new[key] if child not in gone]
    if restarted:
        if new.get("phase") != "Skipped":
            new["phase"] = "Running"
        new["startedAt"] = restarted
        for key in ("message", "finishedAt"):
            new.pop(key, None)
    return new
