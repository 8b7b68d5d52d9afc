"""The halves of PodSpec and Container that KServe mixes into its own structs.

Upstream embeds the Go structs, so their fields appear beside the serving fields. They are listed
here once, by name, so that the schema refuses a misspelt one.
"""

from __future__ import annotations

import msgspec

from kubeling.kube.crd import (
    Affinity,
    AnyObject,
    Container,
    EnvVar,
    ResourceRequirements,
    Volume,
)

__all__ = ["InlineContainer", "InlinePodSpec"]


class InlinePodSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """The fields of a PodSpec."""

    active_deadline_seconds: int | None = None
    affinity: Affinity | None = None
    automount_service_account_token: bool | None = None
    containers: list[Container] | None = None
    dns_config: AnyObject | None = None
    dns_policy: str | None = None
    enable_service_links: bool | None = None
    host_aliases: list[AnyObject] | None = None
    host_ipc: bool | None = msgspec.field(default=None, name="hostIPC")
    host_network: bool | None = None
    host_pid: bool | None = msgspec.field(default=None, name="hostPID")
    host_users: bool | None = None
    hostname: str | None = None
    image_pull_secrets: list[AnyObject] | None = None
    init_containers: list[Container] | None = None
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    os: AnyObject | None = None
    overhead: AnyObject | None = None
    preemption_policy: str | None = None
    priority: int | None = None
    priority_class_name: str | None = None
    readiness_gates: list[AnyObject] | None = None
    resource_claims: list[AnyObject] | None = None
    restart_policy: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: list[AnyObject] | None = None
    security_context: AnyObject | None = None
    service_account: str | None = None
    service_account_name: str | None = None
    set_hostname_as_fqdn: bool | None = msgspec.field(default=None, name="setHostnameAsFQDN")
    share_process_namespace: bool | None = None
    subdomain: str | None = None
    termination_grace_period_seconds: int | None = None
    tolerations: list[AnyObject] | None = None
    topology_spread_constraints: list[AnyObject] | None = None
    volumes: list[Volume] | None = None


class InlineContainer(msgspec.Struct, rename="camel", omit_defaults=True):
    """The fields of a Container."""

    name: str | None = None
    args: list[str] | None = None
    command: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[AnyObject] | None = None
    image: str | None = None
    image_pull_policy: str | None = None
    lifecycle: AnyObject | None = None
    liveness_probe: AnyObject | None = None
    ports: list[AnyObject] | None = None
    readiness_probe: AnyObject | None = None
    resize_policy: list[AnyObject] | None = None
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    security_context: AnyObject | None = None
    startup_probe: AnyObject | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None
    tty: bool | None = None
    volume_devices: list[AnyObject] | None = None
    volume_mounts: list[AnyObject] | None = None
    working_dir: str | None = None


POD_FIELDS = frozenset(InlinePodSpec.__struct_encode_fields__)
CONTAINER_FIELDS = frozenset(InlineContainer.__struct_encode_fields__)
