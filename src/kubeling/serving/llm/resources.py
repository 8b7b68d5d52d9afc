"""LLMInferenceService and LLMInferenceServiceConfig, as KServe spells them.

v1alpha2 is stored and v1alpha1 served beside it. Upstream converts between the two: v1alpha1's
``criticality`` goes into annotations, and the pool's form changes. Here both have one schema that
holds either, so an object reads the same in both versions and nothing is lost.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import (
    AnyObject,
    Column,
    Condition,
    IntOrString,
    PodSpec,
    Version,
    crd,
)
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.serving.tracing import Tracing

__all__ = ["LLM_CONFIGS", "LLM_SERVICES", "V1ALPHA1_CONFIGS", "V1ALPHA1_SERVICES", "definitions"]

_GROUP: Final = "serving.kserve.io"

LLM_SERVICES: Final = Resource(
    _GROUP, "v1alpha2", "LLMInferenceService", "llminferenceservices", True, ("llmisvc",)
)
LLM_CONFIGS: Final = Resource(
    _GROUP, "v1alpha2", "LLMInferenceServiceConfig", "llminferenceserviceconfigs"
)
V1ALPHA1_SERVICES: Final = Resource(
    _GROUP, "v1alpha1", "LLMInferenceService", "llminferenceservices", True, ("llmisvc",)
)
V1ALPHA1_CONFIGS: Final = Resource(
    _GROUP, "v1alpha1", "LLMInferenceServiceConfig", "llminferenceserviceconfigs"
)

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Criticality = Literal["Critical", "Standard", "Sheddable"]


class Confidential(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whether the model's files are encrypted, and by which key."""

    enabled: bool
    resource_id: str | None = None


class LoRA(msgspec.Struct, rename="camel", omit_defaults=True):
    """Adapters of the base model; each has the fields of a model."""

    adapters: list[AnyObject] | None = None
    max_rank: Positive | None = None
    max_adapters: Positive | None = None
    max_cpu_adapters: Positive | None = None


class LLMModel(msgspec.Struct, rename="camel", omit_defaults=True):
    """Where the model is, and its name in requests."""

    uri: str | None = None
    name: str | None = None
    lora: LoRA | None = None
    confidential: Confidential | None = None
    criticality: Criticality | None = None


class Parallelism(msgspec.Struct, rename="camel", omit_defaults=True):
    """How a model is spread over devices and nodes."""

    tensor: Positive | None = None
    pipeline: Positive | None = None
    data: Positive | None = None
    data_local: Positive | None = None
    data_rpc_port: Port | None = msgspec.field(default=None, name="dataRPCPort")
    expert: bool | None = None


class Scaling(msgspec.Struct, rename="camel", omit_defaults=True):
    """How the number of pods follows the demand, by WVA or KEDA."""

    max_replicas: Positive
    min_replicas: Positive | None = None
    wva: AnyObject | None = None
    keda: AnyObject | None = None


class RolloutStrategy(msgspec.Struct, rename="camel", omit_defaults=True):
    """How pods are replaced."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class Workload(msgspec.Struct, rename="camel", omit_defaults=True):
    """The pods of a phase."""

    replicas: Count | None = None
    scaling: Scaling | None = None
    parallelism: Parallelism | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    template: PodSpec | None = None
    worker: PodSpec | None = None
    kv_cache_offloading: AnyObject | None = None
    rollout_strategy: RolloutStrategy | None = None


class ObjectReference(msgspec.Struct, rename="camel", omit_defaults=True):
    """Another object, by name."""

    name: str | None = None
    namespace: str | None = None
    section_name: str | None = None


class HTTPRoutes(msgspec.Struct, rename="camel", omit_defaults=True):
    """Routes of one's own, or what the route is to be."""

    refs: list[ObjectReference] | None = None
    spec: AnyObject | None = None


class Routes(msgspec.Struct, rename="camel", omit_defaults=True):
    """How the service is reached; ``{}`` is the usual way."""

    http: HTTPRoutes | None = None
    group: (
        Annotated[
            str,
            msgspec.Meta(min_length=1, max_length=63, pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
        ]
        | None
    ) = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=1000000)] | None = None


class References(msgspec.Struct, rename="camel", omit_defaults=True):
    """Gateways or ingresses of one's own; ``{}`` is the usual one."""

    refs: list[ObjectReference] | None = None


class SchedulerConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """The configuration of the scheduler, here or in a ConfigMap."""

    inline: AnyObject | None = None
    ref: AnyObject | None = None


class Tokenizer(msgspec.Struct, rename="camel", omit_defaults=True):
    """The pods of a tokenizer that stands alone."""

    template: PodSpec | None = None


class Scheduler(msgspec.Struct, rename="camel", omit_defaults=True):
    """What picks the pod for each request; ``{}`` is the usual one."""

    pool: AnyObject | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    template: PodSpec | None = None
    config: SchedulerConfig | None = None
    replicas: int | None = None
    tokenizer: Tokenizer | None = None


class Router(msgspec.Struct, rename="camel", omit_defaults=True):
    """How requests come to the pods."""

    route: Routes | None = None
    gateway: References | None = None
    ingress: References | None = None
    scheduler: Scheduler | None = None


class StorageInitializer(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whether the model is fetched before the server starts."""

    enabled: bool | None = None


class LLMInferenceServiceSpec(Workload):
    """A model, its pods, and the way to them; a configuration may leave anything out."""

    model: LLMModel | None = None
    storage_initializer: StorageInitializer | None = None
    router: Router | None = None
    prefill: Workload | None = None
    tracing: Tracing | None = None
    base_refs: list[ObjectReference] | None = None


class LLMInferenceServiceStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the controller observed."""

    conditions: list[Condition] | None = None
    observed_generation: int | None = None
    annotations: dict[str, str] | None = None
    url: str | None = None
    address: AnyObject | None = None
    addresses: list[AnyObject] | None = None
    router: AnyObject | None = None
    workloads: AnyObject | None = None
    applied_configs: list[AnyObject] | None = None


class LLMInferenceServiceConfigStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """Which services use a configuration."""

    conditions: list[Condition] | None = None
    observed_generation: int | None = None
    annotations: dict[str, str] | None = None
    referenced_by: list[AnyObject] | None = None


def definitions() -> list[Obj]:
    """The definitions of both kinds."""
    ready = (
        Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason"),
    )
    versions = (Version("v1alpha1"),)
    columns = (
        Column("URL", ".status.url"),
        *ready,
        Column("URLs", ".status.addresses[*].url", priority=1),
    )
    spec: Any = LLMInferenceServiceSpec
    return [
        crd(LLM_SERVICES, spec, LLMInferenceServiceStatus, columns=columns, versions=versions),
        crd(LLM_CONFIGS, spec, LLMInferenceServiceConfigStatus, columns=ready, versions=versions),
    ]
