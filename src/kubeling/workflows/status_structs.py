"""How far a Workflow is: its status and its nodes, as typed structs."""

from __future__ import annotations

from typing import Literal

import msgspec

from kubeling.kube.crd import AnyObject, Condition, Time
from kubeling.workflows.handed import Inputs, Outputs
from kubeling.workflows.template_structs import TemplateRef

__all__ = [
    "MemoizationStatus",
    "Node",
    "NodeFlag",
    "NodeSynchronizationStatus",
    "NodeType",
    "Phase",
    "SynchronizationStatus",
    "WorkflowStatus",
]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Field names as in the manifests; what is not given is not written."""


NodeType = Literal[
    "Pod",
    "Container",
    "HTTP",
    "Steps",
    "StepGroup",
    "DAG",
    "TaskGroup",
    "Retry",
    "Skipped",
    "Suspend",
]
Phase = Literal["", "Pending", "Running", "Succeeded", "Skipped", "Failed", "Error", "Omitted"]


class NodeFlag(_Struct):
    """How a node came about."""

    hooked: bool | None = None
    retried: bool | None = None


class NodeSynchronizationStatus(_Struct):
    """Which lock a node waits for."""

    waiting: str = ""


class SynchronizationStatus(_Struct):
    """Which locks a Workflow and its nodes hold, and which they wait for."""

    semaphore: AnyObject | None = None
    mutex: AnyObject | None = None


class MemoizationStatus(_Struct, omit_defaults=False):
    """Whether a node's outputs came from a cache."""

    hit: bool
    key: str
    cache_name: str


class Node(_Struct):
    """One call of a template as it ran; the tree of these is a Workflow's whole memory."""

    id: str
    type: NodeType
    name: str = ""
    display_name: str = ""
    phase: Phase = ""
    template_name: str = ""
    template_ref: TemplateRef | None = None
    template_scope: str = ""
    boundary_id: str = msgspec.field(default="", name="boundaryID")
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None
    progress: str = ""
    estimated_duration: int | None = None
    inputs: Inputs | None = None
    outputs: Outputs | None = None
    children: list[str] = []
    outbound_nodes: list[str] = []
    host_node_name: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    daemoned: bool | None = None
    resources_duration: dict[str, int] | None = None
    node_flag: NodeFlag | None = None
    synchronization_status: NodeSynchronizationStatus | None = None
    memoization_status: MemoizationStatus | None = None


class WorkflowStatus(_Struct):
    """How far a Workflow is."""

    phase: Phase = ""
    started_at: Time | None = None
    finished_at: Time | None = None
    message: str = ""
    progress: str = ""
    estimated_duration: int | None = None
    nodes: dict[str, Node] = {}
    offload_node_status_version: str = ""
    outputs: Outputs | None = None
    conditions: list[Condition] = []
    stored_templates: dict[str, AnyObject] = {}
    stored_workflow_template_spec: AnyObject | None = None
    persistent_volume_claims: list[AnyObject] = []
    resources_duration: dict[str, int] | None = None
    artifact_repository_ref: AnyObject | None = None
    synchronization: SynchronizationStatus | None = None
