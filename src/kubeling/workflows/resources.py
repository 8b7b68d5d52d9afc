"""The kinds of argoproj.io/v1alpha1, as typed structs.

The structs state what the API accepts and what the controller reads. Whatever is handed on to pods
as it is (affinity, security contexts, …) stays a dict of the built-in type.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from kubeling.kube.crd import (
    Affinity,
    AnyObject,
    Column,
    Condition,
    Container,
    EnvVar,
    IntOrString,
    ResourceRequirements,
    Time,
    Volume,
    crd,
    schema_of,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "CLUSTER_WORKFLOW_TEMPLATES",
    "CRON_WORKFLOWS",
    "WORKFLOWS",
    "WORKFLOW_TEMPLATES",
    "Arguments",
    "Artifact",
    "Backoff",
    "Dag",
    "DagTask",
    "Inputs",
    "LifecycleHook",
    "Node",
    "Outputs",
    "Parameter",
    "RetryStrategy",
    "Script",
    "Sequence",
    "Step",
    "Suspend",
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
    pass


class ValueFrom(_Struct):
    """Where a parameter's value comes from."""

    path: str = ""
    parameter: str = ""
    expression: str = ""
    config_map_key_ref: AnyObject | None = None
    default: Any = None
    supplied: AnyObject | None = None
    json_path: str = ""
    jq_filter: str = ""
    event: str = ""


class Parameter(_Struct):
    """A named text; numbers and booleans are taken as their text."""

    name: str
    value: Any = None
    default: Any = None
    value_from: ValueFrom | None = None
    enum: list[Any] | None = None
    description: str = ""
    global_name: str = ""


class Artifact(_Struct):
    """A file or folder handed into or out of a step."""

    name: str
    path: str = ""
    from_: str = msgspec.field(default="", name="from")
    from_expression: str = ""
    raw: AnyObject | None = None
    s3: AnyObject | None = None
    gcs: AnyObject | None = None
    azure: AnyObject | None = None
    oss: AnyObject | None = None
    hdfs: AnyObject | None = None
    git: AnyObject | None = None
    http: AnyObject | None = None
    artifactory: AnyObject | None = None
    plugin: AnyObject | None = None
    archive: AnyObject | None = None
    archive_logs: bool | None = None
    artifact_gc: AnyObject | None = msgspec.field(default=None, name="artifactGC")
    deleted: bool | None = None
    global_name: str = ""
    mode: int | None = None
    optional: bool | None = None
    recurse_mode: bool | None = None
    sub_path: str = ""


class Arguments(_Struct):
    """Values for inputs."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []


class Inputs(_Struct):
    """What a template needs."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []


class Outputs(_Struct):
    """What a template gives; ``result`` is what it printed."""

    parameters: list[Parameter] = []
    artifacts: list[Artifact] = []
    result: str | None = None
    exit_code: str = ""


class TemplateRef(_Struct):
    """A template of a WorkflowTemplate or, with ``clusterScope``, a ClusterWorkflowTemplate."""

    name: str = ""
    template: str = ""
    cluster_scope: bool | None = None


class WorkflowTemplateRef(_Struct):
    """A WorkflowTemplate whose spec the Workflow runs."""

    name: str = ""
    cluster_scope: bool | None = None


class LifecycleHook(_Struct):
    """A template to run when something happens; without ``expression``, at the end."""

    template: str = ""
    template_ref: TemplateRef | None = None
    arguments: Arguments | None = None
    expression: str = ""


class ContinueOn(_Struct):
    """Which bad ends of a step count as good."""

    error: bool | None = None
    failed: bool | None = None


class Sequence(_Struct):
    """Numbers to run a step for: ``count`` of them, or from ``start`` to ``end``."""

    count: IntOrString | None = None
    start: IntOrString | None = None
    end: IntOrString | None = None
    format: str = ""


class Step(_Struct):
    """A call of a template."""

    name: str = ""
    template: str = ""
    template_ref: TemplateRef | None = None
    inline: AnyObject | None = None
    arguments: Arguments | None = None
    when: str = ""
    with_items: list[Any] | None = None
    with_param: str = ""
    with_sequence: Sequence | None = None
    continue_on: ContinueOn | None = None
    on_exit: str = ""
    hooks: dict[str, LifecycleHook] | None = None


class DagTask(Step, kw_only=True):
    """A call of a template that waits for other tasks."""

    dependencies: list[str] | None = None
    depends: str = ""


class Dag(_Struct):
    """Tasks in the order of their dependencies; ``target`` limits which ones."""

    tasks: list[DagTask] = []
    target: str = ""
    fail_fast: bool | None = None


class Script(_Struct):
    """A container whose program is written in the workflow."""

    image: str = ""
    source: str = ""
    name: str = ""
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[AnyObject] | None = None
    working_dir: str = ""
    resources: ResourceRequirements | None = None
    volume_mounts: list[AnyObject] | None = None
    volume_devices: list[AnyObject] | None = None
    ports: list[AnyObject] | None = None
    image_pull_policy: str = ""
    resize_policy: list[AnyObject] | None = None
    security_context: AnyObject | None = None
    liveness_probe: AnyObject | None = None
    readiness_probe: AnyObject | None = None
    startup_probe: AnyObject | None = None
    lifecycle: AnyObject | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    stdin: bool | None = None
    stdin_once: bool | None = None
    tty: bool | None = None


class ContainerSetRetry(_Struct):
    """How often each container of a set tries, and how long it waits in between."""

    retries: IntOrString | None = None
    duration: str = ""


class ContainerSet(_Struct):
    """Containers of one pod; each may wait for others (``dependencies``)."""

    containers: list[AnyObject] = []
    volume_mounts: list[AnyObject] | None = None
    retry_strategy: ContainerSetRetry | None = None


class ManifestFrom(_Struct):
    """The input artifact that is the manifest."""

    artifact: Artifact


class ResourceTemplate(_Struct):
    """An object of the API to get, create or change, and to wait for."""

    action: Literal["get", "create", "apply", "delete", "replace", "patch"]
    merge_strategy: Literal["strategic", "merge", "json"] | None = None
    manifest: str = ""
    manifest_from: ManifestFrom | None = None
    set_owner_reference: bool | None = None
    success_condition: str = ""
    failure_condition: str = ""
    flags: list[str] | None = None


class HttpHeader(_Struct):
    """A header of a request; its value may lie in a Secret."""

    name: str
    value: str = ""
    value_from: AnyObject | None = None


class Http(_Struct):
    """A request, and what its answer has to be like."""

    url: str
    method: str = ""
    headers: list[HttpHeader] | None = None
    body: str = ""
    body_from: AnyObject | None = None
    timeout_seconds: int | None = None
    success_condition: str = ""
    insecure_skip_verify: bool | None = None


class DataSource(_Struct):
    """Where the list of a data template comes from."""

    artifact_paths: AnyObject | None = None


class Transformation(_Struct):
    """What is made of the list."""

    expression: str


class Data(_Struct):
    """A list of artifacts, put through expressions."""

    source: DataSource
    transformation: list[Transformation]


class Suspend(_Struct):
    """Waits to be resumed, or for ``duration``."""

    duration: Any = ""


class Backoff(_Struct):
    """How long to wait before trying again."""

    duration: Any = ""
    factor: IntOrString | None = None
    max_duration: str = ""
    cap: str = ""


class RetryStrategy(_Struct):
    """Whether and how often to try again."""

    limit: IntOrString | None = None
    retry_policy: Literal["Always", "OnFailure", "OnError", "OnTransientError"] | None = None
    backoff: Backoff | None = None
    expression: str = ""
    affinity: AnyObject | None = None


class Metadata(_Struct):
    """Labels and annotations for pods."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Template(_Struct):
    """One unit of work: exactly one of container, script, steps, dag and suspend."""

    name: str = ""
    inputs: Inputs | None = None
    outputs: Outputs | None = None
    container: Container | None = None
    script: Script | None = None
    steps: list[list[Step]] | None = None
    dag: Dag | None = None
    suspend: Suspend | None = None
    container_set: ContainerSet | None = None
    resource: ResourceTemplate | None = None
    http: Http | None = None
    data: Data | None = None
    plugin: AnyObject | None = None
    retry_strategy: RetryStrategy | None = None
    parallelism: int | None = None
    fail_fast: bool | None = None
    active_deadline_seconds: IntOrString | None = None
    timeout: str = ""
    pending_timeout: str = ""
    metadata: Metadata | None = None
    daemon: bool | None = None
    memoize: AnyObject | None = None
    synchronization: AnyObject | None = None
    metrics: AnyObject | None = None
    archive_location: AnyObject | None = None
    executor: AnyObject | None = None
    init_containers: list[AnyObject] | None = None
    sidecars: list[AnyObject] | None = None
    volumes: list[Volume] | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[AnyObject] | None = None
    host_aliases: list[AnyObject] | None = None
    pod_resources: ResourceRequirements | None = None
    resource_claims: list[AnyObject] | None = None
    security_context: AnyObject | None = None
    priority: int | None = None
    priority_class_name: str = ""
    scheduler_name: str = ""
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    pod_spec_patch: str = ""
    annotations: dict[str, str] | None = None


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
