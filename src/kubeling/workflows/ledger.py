"""The record of a running Workflow: its nodes, the edges between them, sums and outputs.

Whatever changes here is noted (``changed``, ``status_changed``), so that only that is written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubeling.kube.objects import Obj, format_time
from kubeling.workflows.estimates import Estimates
from kubeling.workflows.nodes import is_fulfilled, node_id, parse_progress
from kubeling.workflows.resources import Artifact, Node, Outputs, Parameter, Phase
from kubeling.workflows.scope import Scope
from kubeling.workflows.variables import parameter_text

__all__ = ["Ledger"]


class Ledger:
    """Nodes by id, in the order they came about."""

    def __init__(self, name: str, status: Obj) -> None:
        self.name = name
        self.now = dt.datetime.fromtimestamp(0, dt.UTC)
        self.nodes: dict[str, Node] = {
            key: msgspec.convert({"type": "Pod", **node}, Node)
            for key, node in (status.get("nodes") or {}).items()
        }
        self.estimates = Estimates()
        self.outputs = msgspec.convert(status.get("outputs") or {}, Outputs)
        self.globals = Scope()
        self.changed: set[str] = set()
        self.status_changed = False
        self._progress: dict[str, tuple[int, int]] = {}
        self._parts: dict[str, tuple[int, int]] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._edges: set[tuple[str, str]] = set()

    @property
    def progress(self) -> str:
        """Succeeded pods of all pods so far."""
        done, total = self._progress.get("", (0, 0))
        return f"{done}/{total}"

    def stamp(self) -> str:
        """Now, as statuses show it."""
        return format_time(self.now)

    def touch(self, node: Node) -> None:
        """Notes that a node is not what was last written."""
        self.changed.add(node.id)

    def ensure(
        self,
        name: str,
        display: str,
        kind: Any,
        boundary: str,
        phase: Phase = "Running",
        **more: Any,
    ) -> Node:
        """The node of that name, made if it does not exist."""
        key = node_id(self.name, name)
        node = self.nodes.get(key)
        if node is None:
            node = Node(
                id=key,
                name=name,
                display_name=display,
                type=kind,
                phase=phase,
                boundary_id=boundary,
                started_at=self.stamp(),
                estimated_duration=self.estimates.nodes.get(name.removeprefix(self.name)),
                **more,
            )
            if is_fulfilled(node):
                node.finished_at = node.started_at
            self.nodes[key] = node
            self.changed.add(key)
        return node

    def connect(self, parents: Iterable[str], child: str) -> None:
        """Draws edges from nodes to a node."""
        for parent in parents:
            if (parent, child) not in self._edges:
                self._edges.add((parent, child))
                self.nodes[parent].children.append(child)
                self.changed.add(parent)

    def outbound(self, key: str) -> list[str]:
        """The last nodes inside a node: where its successors hang on."""
        node = self.nodes[key]
        match node.type:
            case "Steps" | "DAG":
                return node.outbound_nodes or [key]
            case "Retry":
                return self.outbound(node.children[-1]) if node.children else [key]
            case "TaskGroup" | "StepGroup":
                inside = [leaf for child in node.children for leaf in self.outbound(child)]
                return inside or [key]
        return [key]

    def recount(self) -> None:
        """Computes the sums and edges afresh from the nodes."""
        self._progress = {}
        self._parts = {}
        self._used = {}
        self._edges = {(node.id, child) for node in self.nodes.values() for child in node.children}
        for node in self.nodes.values():
            if node.type in ("Pod", "HTTP"):
                part = parse_progress(node.progress) or (int(node.phase == "Succeeded"), 1)
                self._count(node, *part, quiet=True)
                self.use(node, node.resources_duration or {}, quiet=True)

    def progressed(self, leaf: Node, done: int, total: int) -> None:
        """Notes how far a leaf is; the nodes around it and the Workflow are as far as the sum."""
        if (done, total) != self._parts.get(leaf.id):
            leaf.progress = f"{done}/{total}"
            self.changed.add(leaf.id)
            self._count(leaf, done, total)

    def completed(self, leaf: Node) -> None:
        """Notes that a leaf is done, whatever it said last."""
        _, total = self._parts.get(leaf.id, (0, 1))
        self.progressed(leaf, total, total)

    def _count(self, pod: Node, done: int, total: int, *, quiet: bool = False) -> None:
        before = self._parts.get(pod.id, (0, 0))
        self._parts[pod.id] = (done, total)
        done, total = done - before[0], total - before[1]
        boundary = pod.boundary_id
        while True:
            had = self._progress.get(boundary, (0, 0))
            self._progress[boundary] = (had[0] + done, had[1] + total)
            if not boundary:
                return
            around = self.nodes[boundary]
            if not quiet:
                around.progress = f"{had[0] + done}/{had[1] + total}"
                self.changed.add(boundary)
            boundary = around.boundary_id

    @property
    def resources_duration(self) -> dict[str, int]:
        """What all pods so far have used."""
        return self._used.get("", {})

    def use(self, pod: Node, amounts: Mapping[str, int], *, quiet: bool = False) -> None:
        """Adds what a pod has used to every node around it, and to the Workflow."""
        boundary = pod.boundary_id
        while amounts:
            sums = self._used.setdefault(boundary, {})
            for name, amount in amounts.items():
                sums[name] = sums.get(name, 0) + amount
            if not boundary:
                return
            around = self.nodes[boundary]
            if not quiet:
                around.resources_duration = dict(sums)
                self.changed.add(boundary)
            boundary = around.boundary_id

    def export(self, node: Node) -> None:
        """Makes a node's outputs with a ``globalName`` the Workflow's."""
        if node.outputs is None:
            return
        for parameter in node.outputs.parameters:
            if parameter.global_name and parameter.value is not None:
                name = parameter.global_name
                self._publish_parameter(Parameter(name=name, value=parameter.value))
        for artifact in node.outputs.artifacts:
            if artifact.global_name:
                name = artifact.global_name
                self._publish_artifact(msgspec.structs.replace(artifact, name=name, global_name=""))

    def publish(self) -> None:
        """Puts the Workflow's outputs so far among its variables."""
        for parameter in self.outputs.parameters:
            text = parameter_text(parameter.value)
            self.globals.values[f"workflow.outputs.parameters.{parameter.name}"] = text
        for artifact in self.outputs.artifacts:
            found = msgspec.to_builtins(artifact)
            self.globals.artifacts[f"workflow.outputs.artifacts.{artifact.name}"] = found

    def _publish_parameter(self, parameter: Parameter) -> None:
        kept = [p for p in self.outputs.parameters if p.name != parameter.name]
        self.outputs.parameters = [*kept, parameter]
        self.status_changed = True
        self.publish()

    def _publish_artifact(self, artifact: Artifact) -> None:
        kept = [a for a in self.outputs.artifacts if a.name != artifact.name]
        self.outputs.artifacts = [*kept, artifact]
        self.status_changed = True
        self.publish()
