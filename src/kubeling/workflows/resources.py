"""The kinds of argoproj.io/v1alpha1, as typed structs.

The structs state what the API accepts and what the controller reads: here the kinds and their
specs, beside it what templates are (:mod:`~.template_structs`), what they hand on
(:mod:`~.handed`) and how far a Workflow is (:mod:`~.status_structs`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from kubeling.kube.crd import (
    Affinity,
    AnyObject,
    Column,
    Condition,
    ResourceRequirements,
    Time,
    Volume,
    crd,
    schema_of,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.workflows.handed import Arguments, Artifact, Inputs, Outputs, Parameter
from kubeling.workflows.status_structs import (
    MemoizationStatus,
    Node,
    NodeFlag,
    NodeSynchronizationStatus,
    Phase,
    SynchronizationStatus,
    WorkflowStatus,
)
from kubeling.workflows.template_structs import (
    LifecycleHook,
    Metadata,
    RetryStrategy,
    Template,
    TemplateRef,
)

__all__ = [
    "CLUSTER_WORKFLOW_TEMPLATES",
    "CRON_WORKFLOWS",
    "WORKFLOWS",
    "WORKFLOW_TEMPLATES",
    "Artifact",
    "Inputs",
    "MemoizationStatus",
    "Node",
    "NodeFlag",
    "NodeSynchronizationStatus",
    "Outputs",
    "Parameter",
    "Phase",
    "SynchronizationStatus",
    "Template",
    "TemplateRef",
    "WorkflowSpec",
    "WorkflowStatus",
    "crds",
]

GROUP: Final = "argoproj.io"
WORKFLOWS: Final = Resource(GROUP, "v1alpha1", "Workflow", "workflows", True, ("wf",))
WORKFLOW_TEMPLATES: Final = Resource(
    GROUP, "v1alpha1", "WorkflowTemplate", "workflowtemplates", True, ("wftmpl",)
)
CLUSTER_WORKFLOW_TEMPLATES: Final = Resource(
    GROUP, "v1alpha1", "ClusterWorkflowTemplate", "clusterworkflowtemplates", False,
    ("clusterwftmpl", "cwft"),
)  # fmt: skip
CRON_WORKFLOWS: Final = Resource(
    GROUP, "v1alpha1", "CronWorkflow", "cronworkflows", True, ("cwf", "cronwf")
)


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Field names as in the manifests; what is not given is not written."""


class WorkflowTemplateRef(_Struct):
    """A WorkflowTemplate whose spec the Workflow runs."""

    name: str = ""
    cluster_scope: bool | None = None


class TtlStrategy(_Struct):
    """When a finished Workflow is deleted."""

    seconds_after_completion: int | None = None
    seconds_after_success: int | None = None
    seconds_after_failure: int | None = None


class PodGc(_Struct):
    """When the pods of a Workflow are deleted."""

    strategy: (
        Literal["OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"]
        | None
    ) = None
    label_selector: AnyObject | None = None
    delete_delay_duration: str = ""


class WorkflowMetadata(_Struct):
    """Labels and annotations for the Workflows made from a template."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    labels_from: dict[str, AnyObject] | None = None


class WorkflowSpec(_Struct):
    """What to run."""

    entrypoint: str = ""
    arguments: Arguments | None = None
    templates: list[Template] = []
    template_defaults: Template | None = None
    workflow_template_ref: WorkflowTemplateRef | None = None
    on_exit: str = ""
    hooks: dict[str, LifecycleHook] | None = None
    parallelism: int | None = None
    active_deadline_seconds: int | None = None
    suspend: bool | None = None
    shutdown: Literal["", "Stop", "Terminate"] | None = None
    retry_strategy: RetryStrategy | None = None
    ttl_strategy: TtlStrategy | None = None
    pod_gc: PodGc | None = msgspec.field(default=None, name="podGC")
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    executor: AnyObject | None = None
    executor_plugins: list[AnyObject] | None = None
    volumes: list[Volume] | None = None
    volume_claim_templates: list[AnyObject] | None = None
    volume_claim_gc: AnyObject | None = msgspec.field(default=None, name="volumeClaimGC")
    artifact_repository_ref: AnyObject | None = None
    artifact_gc: AnyObject | None = msgspec.field(default=None, name="artifactGC")
    archive_logs: bool | None = None
    pod_metadata: Metadata | None = None
    workflow_metadata: WorkflowMetadata | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[AnyObject] | None = None
    image_pull_secrets: list[AnyObject] | None = None
    host_network: bool | None = None
    host_aliases: list[AnyObject] | None = None
    dns_policy: str | None = None
    dns_config: AnyObject | None = None
    pod_resources: ResourceRequirements | None = None
    resource_claims: list[AnyObject] | None = None
    security_context: AnyObject | None = None
    priority: int | None = None
    pod_priority_class_name: str = ""
    scheduler_name: str = ""
    pod_spec_patch: str = ""
    pod_disruption_budget: AnyObject | None = None
    synchronization: AnyObject | None = None
    metrics: AnyObject | None = None


class CronWorkflowSpec(_Struct):
    """A Workflow to start at given times."""

    workflow_spec: WorkflowSpec
    schedules: list[str] = []
    schedule: str = ""
    timezone: str = ""
    suspend: bool | None = None
    concurrency_policy: Literal["", "Allow", "Forbid", "Replace"] | None = None
    starting_deadline_seconds: int | None = None
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None
    stop_strategy: AnyObject | None = None
    when: str = ""
    workflow_metadata: Metadata | None = None


class CronWorkflowStatus(_Struct):
    """What a CronWorkflow started."""

    active: list[AnyObject] = []
    last_scheduled_time: Time | None = None
    succeeded: int = 0
    failed: int = 0
    phase: str = ""
    conditions: list[Condition] = []


def crds() -> list[Obj]:
    """The definitions of this room's kinds."""
    spec = schema_of(WorkflowSpec)
    return [
        crd(
            WORKFLOWS,
            spec,
            WorkflowStatus,
            columns=[
                Column("Status", ".status.phase"),
                Column("Progress", ".status.progress"),
                Column("Message", ".status.message"),
            ],
        ),
        crd(WORKFLOW_TEMPLATES, spec),
        crd(CLUSTER_WORKFLOW_TEMPLATES, spec),
        crd(
            CRON_WORKFLOWS,
            CronWorkflowSpec,
            CronWorkflowStatus,
            columns=[
                Column("Schedules", ".spec.schedules"),
                Column("Suspend", ".spec.suspend", "boolean"),
                Column("Last run", ".status.lastScheduledTime", "date"),
            ],
        ),
    ]
