"""JobSet, as typed structs from which its CRD is generated.

The wire is that of ``jobset.x-k8s.io/v1alpha2`` (kubernetes-sigs/jobset): users list JobSets with
kubectl, and Kueue and the Trainer's SDK know their labels.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, Ref, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["JOB_SETS", "JobSetSpec", "crds"]

JOB_SETS: Final = Resource(
    "jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets", True, (), ("all", "kubeflow")
)

JobTemplateSpec = Annotated[dict[str, Any], Ref("io.k8s.api.batch.v1.JobTemplateSpec")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class _Struct(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The wire conventions of all structs here."""


class DependsOn(_Struct, frozen=True):
    """What another group of Jobs must have reached before this one is created."""

    name: str
    status: Literal["Ready", "Complete"]


class ReplicatedJob(_Struct, frozen=True):
    """A group of equal Jobs."""

    name: str
    template: JobTemplateSpec
    group_name: str = "default"
    replicas: Count = 1
    depends_on: Annotated[list[DependsOn], msgspec.Meta(max_length=10)] | None = None


class Network(_Struct, frozen=True):
    """How the pods find one another."""

    enable_dns_hostnames: bool | None = msgspec.field(name="enableDNSHostnames", default=None)
    subdomain: str | None = None
    publish_not_ready_addresses: bool | None = None


class SuccessPolicy(_Struct, frozen=True):
    """Which Jobs must succeed, all of them or any."""

    operator: Literal["All", "Any"]
    target_replicated_jobs: list[str] | None = None


class FailurePolicyRule(_Struct, frozen=True):
    """What is done about a failure that the rule is about."""

    action: Literal["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
    name: str | None = None
    on_job_failure_reasons: list[str] | None = None
    target_replicated_jobs: list[str] | None = None


class FailurePolicy(_Struct, frozen=True):
    """How often everything is started again, and for which failures."""

    max_restarts: Count | None = None
    restart_strategy: Literal["Recreate", "BlockingRecreate"] | None = None
    rules: Annotated[list[FailurePolicyRule], msgspec.Meta(max_length=20)] | None = None


class StartupPolicy(_Struct, frozen=True):
    """Whether groups start one after the other."""

    startup_policy_order: Literal["AnyOrder", "InOrder"]


class Coordinator(_Struct, frozen=True):
    """The pod whose address all others are told in a label."""

    replicated_job: str
    job_index: Count = 0
    pod_index: Count = 0


class RetentionPolicy(_Struct, frozen=True):
    """What becomes of claims when the JobSet goes."""

    when_deleted: Literal["Delete", "Retain"]


class VolumeClaimPolicy(_Struct, frozen=True):
    """Claims made for the whole JobSet; pods mount them by the template's name."""

    templates: list[AnyObject]
    retention_policy: RetentionPolicy | None = None


class JobSetSpec(_Struct, frozen=True):
    """Groups of Jobs, how they find one another, and when all of it has succeeded or failed."""

    replicated_jobs: list[ReplicatedJob] | None = None
    network: Network | None = None
    success_policy: SuccessPolicy | None = None
    failure_policy: FailurePolicy | None = None
    startup_policy: StartupPolicy | None = None
    suspend: bool | None = None
    coordinator: Coordinator | None = None
    managed_by: str | None = None
    ttl_seconds_after_finished: Count | None = None
    volume_claim_policies: list[VolumeClaimPolicy] | None = None


class ReplicatedJobStatus(_Struct, frozen=True):
    """How many Jobs of a group are in which state."""

    name: str
    ready: int
    succeeded: int
    failed: int
    active: int
    suspended: int


class JobSetStatus(_Struct, frozen=True):
    """Where a JobSet stands."""

    conditions: list[Condition] | None = None
    restarts: int | None = None
    restarts_count_towards_max: int | None = None
    terminal_state: str | None = None
    replicated_jobs_status: list[ReplicatedJobStatus] | None = None


def crds() -> list[Obj]:
    """The definition of JobSet, with upstream's columns."""
    columns = [
        Column("TerminalState", ".status.terminalState"),
        Column("Restarts", ".status.restarts"),
        Column("Completed", '.status.conditions[?(@.type=="Completed")].status'),
        Column("Suspended", ".spec.suspend"),
    ]
    return [crd(JOB_SETS, JobSetSpec, JobSetStatus, columns=columns)]
