"""Templates and the calls of them, as typed structs.

Whatever is handed on to pods as it is (affinity, security contexts, …) stays a dict of the built-in
type.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kubeling.kube.crd import (
    Affinity,
    AnyObject,
    Container,
    EnvVar,
    IntOrString,
    ResourceRequirements,
    Volume,
)
from kubeling.workflows.handed import Arguments, Artifact, Inputs, Outputs

__all__ = [
    "Backoff",
    "ContainerSet",
    "ContainerSetRetry",
    "ContinueOn",
    "Dag",
    "DagTask",
    "Data",
    "DataSource",
    "Http",
    "HttpHeader",
    "LifecycleHook",
    "ManifestFrom",
    "Metadata",
    "ResourceTemplate",
    "RetryStrategy",
    "Script",
    "Sequence",
    "Step",
    "Suspend",
    "Template",
    "TemplateRef",
    "Transformation",
]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Field names as in the manifests; what is not given is not written."""


class TemplateRef(_Struct):
    """A template of a WorkflowTemplate or, with ``clusterScope``, a ClusterWorkflowTemplate."""

    name: str = ""
    template: str = ""
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
