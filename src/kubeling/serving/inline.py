"""The halves of PodSpec and Container that KServe mixes into its own structs.

Upstream embeds the Go structs, so their fields appear beside the serving fields. They are listed
here once, by name, so that the schema refuses a misspelt one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kubeling.kube.crd import (
    Affinity,
    Container,
    EnvVar,
    IntOrString,
    Ref,
    ResourceRequirements,
    Volume,
)

__all__ = ["InlineContainer", "InlinePodSpec", "Toleration"]

_Object = dict[str, Any]
_CORE = "io.k8s.api.core.v1"
_DNSConfig = Annotated[_Object, Ref(f"{_CORE}.PodDNSConfig")]
_HostAlias = Annotated[_Object, Ref(f"{_CORE}.HostAlias")]
_LocalObjectReference = Annotated[_Object, Ref(f"{_CORE}.LocalObjectReference")]
_OS = Annotated[_Object, Ref(f"{_CORE}.PodOS")]
_ReadinessGate = Annotated[_Object, Ref(f"{_CORE}.PodReadinessGate")]
_ResourceClaim = Annotated[_Object, Ref(f"{_CORE}.PodResourceClaim")]
_SchedulingGate = Annotated[_Object, Ref(f"{_CORE}.PodSchedulingGate")]
_PodSecurityContext = Annotated[_Object, Ref(f"{_CORE}.PodSecurityContext")]
Toleration = Annotated[_Object, Ref(f"{_CORE}.Toleration")]
_SpreadConstraint = Annotated[_Object, Ref(f"{_CORE}.TopologySpreadConstraint")]
_EnvFrom = Annotated[_Object, Ref(f"{_CORE}.EnvFromSource")]
_Exec = Annotated[_Object, Ref(f"{_CORE}.ExecAction")]
_GRPC = Annotated[_Object, Ref(f"{_CORE}.GRPCAction")]
_HTTPHeader = Annotated[_Object, Ref(f"{_CORE}.HTTPHeader")]
_Lifecycle = Annotated[_Object, Ref(f"{_CORE}.Lifecycle")]
_Probe = Annotated[_Object, Ref(f"{_CORE}.Probe")]
_Port = Annotated[_Object, Ref(f"{_CORE}.ContainerPort")]
_ResizePolicy = Annotated[_Object, Ref(f"{_CORE}.ContainerResizePolicy")]
_RestartRule = Annotated[_Object, Ref(f"{_CORE}.ContainerRestartRule")]
_SecurityContext = Annotated[_Object, Ref(f"{_CORE}.SecurityContext")]
_VolumeDevice = Annotated[_Object, Ref(f"{_CORE}.VolumeDevice")]
_VolumeMount = Annotated[_Object, Ref(f"{_CORE}.VolumeMount")]


class InlinePodSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """The fields of a PodSpec."""

    active_deadline_seconds: int | None = None
    affinity: Affinity | None = None
    automount_service_account_token: bool | None = None
    containers: list[Container] | None = None
    dns_config: _DNSConfig | None = None
    dns_policy: str | None = None
    enable_service_links: bool | None = None
    host_aliases: list[_HostAlias] | None = None
    host_ipc: bool | None = msgspec.field(default=None, name="hostIPC")
    host_network: bool | None = None
    host_pid: bool | None = msgspec.field(default=None, name="hostPID")
    host_users: bool | None = None
    hostname: str | None = None
    hostname_override: str | None = None
    image_pull_secrets: list[_LocalObjectReference] | None = None
    init_containers: list[Container] | None = None
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    os: _OS | None = None
    overhead: dict[str, IntOrString] | None = None
    preemption_policy: str | None = None
    priority: int | None = None
    priority_class_name: str | None = None
    readiness_gates: list[_ReadinessGate] | None = None
    resource_claims: list[_ResourceClaim] | None = None
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: list[_SchedulingGate] | None = None
    security_context: _PodSecurityContext | None = None
    service_account: str | None = None
    service_account_name: str | None = None
    set_hostname_as_fqdn: bool | None = msgspec.field(default=None, name="setHostnameAsFQDN")
    share_process_namespace: bool | None = None
    subdomain: str | None = None
    termination_grace_period_seconds: int | None = None
    tolerations: list[Toleration] | None = None
    topology_spread_constraints: list[_SpreadConstraint] | None = None
    volumes: list[Volume] | None = None


class _HTTPGet(msgspec.Struct, rename="camel", omit_defaults=True):
    path: str | None = None
    port: IntOrString | None = None
    host: str | None = None
    scheme: str | None = None
    http_headers: list[_HTTPHeader] | None = None
    protocol: str | None = None


class _TCPSocket(msgspec.Struct, rename="camel", omit_defaults=True):
    port: IntOrString | None = None
    host: str | None = None


class _PortlessProbe(msgspec.Struct, rename="camel", omit_defaults=True):
    """A Probe that may leave the port out: it is then the server's (Knative's rule)."""

    exec: _Exec | None = None
    grpc: _GRPC | None = None
    http_get: _HTTPGet | None = None
    tcp_socket: _TCPSocket | None = None
    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    termination_grace_period_seconds: int | None = None


class InlineContainer(msgspec.Struct, rename="camel", omit_defaults=True):
    """The fields of a Container."""

    name: str | None = None
    args: list[str] | None = None
    command: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[_EnvFrom] | None = None
    image: str | None = None
    image_pull_policy: str | None = None
    lifecycle: _Lifecycle | None = None
    liveness_probe: _PortlessProbe | None = None
    ports: list[_Port] | None = None
    readiness_probe: _PortlessProbe | None = None
    resize_policy: list[_ResizePolicy] | None = None
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    restart_policy_rules: list[_RestartRule] | None = None
    security_context: _SecurityContext | None = None
    startup_probe: _Probe | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None
    tty: bool | None = None
    volume_devices: list[_VolumeDevice] | None = None
    volume_mounts: list[_VolumeMount] | None = None
    working_dir: str | None = None


POD_FIELDS = frozenset(InlinePodSpec.__struct_encode_fields__)
CONTAINER_FIELDS = frozenset(InlineContainer.__struct_encode_fields__)
