"""The kinds of model serving, as KServe spells them.

A component of an InferenceService is a PodSpec with serving fields mixed in, and a predictor's
``model`` is a Container with model fields mixed in; :mod:`.inline` holds those two halves. The old
group (``serving.kubeflow.org``) shares every struct and adds ``custom.container``.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import Column, Condition, Container, EnvVar, Scale, Time, Version, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.serving.inline import InlineContainer, InlinePodSpec
from kubeling.serving.scaling_fields import AutoScaling, DeploymentStrategy
from kubeling.serving.tracing import Tracing

__all__ = [
    "CLUSTER_SERVING_RUNTIMES",
    "FRAMEWORKS",
    "INFERENCE_SERVICES",
    "LEGACY_INFERENCE_SERVICES",
    "SERVING_RUNTIMES",
    "V1ALPHA2_INFERENCE_SERVICES",
    "crds",
]

GROUP: Final = "serving.kserve.io"
LEGACY_GROUP: Final = "serving.kubeflow.org"

INFERENCE_SERVICES: Final = Resource(
    GROUP, "v1beta1", "InferenceService", "inferenceservices", True, ("isvc",)
)
LEGACY_INFERENCE_SERVICES: Final = Resource(
    LEGACY_GROUP, "v1beta1", "InferenceService", "inferenceservices"
)
V1ALPHA2_INFERENCE_SERVICES: Final = Resource(
    LEGACY_GROUP, "v1alpha2", "InferenceService", "inferenceservices"
)
"""Served beside, and stored as, the other version of the old group."""
SERVING_RUNTIMES: Final = Resource(GROUP, "v1alpha1", "ServingRuntime", "servingruntimes")
CLUSTER_SERVING_RUNTIMES: Final = Resource(
    GROUP, "v1alpha1", "ClusterServingRuntime", "clusterservingruntimes", False
)

FRAMEWORKS: Final = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
"""The fields of a predictor that name a framework; admission rewrites them into ``model``."""

Protocol = Literal["v1", "v2", "grpc-v1", "grpc-v2"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class ModelFormat(msgspec.Struct, rename="camel", omit_defaults=True):
    """The format of a model's files."""

    name: str
    version: str | None = None


class StorageSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model in a store whose credentials are an entry of the secret ``storage-config``."""

    path: str | None = None
    key: str | None = None
    schema_path: str | None = None
    parameters: dict[str, str] | None = None


class Confidential(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model that is decrypted in a trusted execution environment."""

    enabled: bool
    resource_id: str | None = None


class FrameworkModel(InlineContainer):
    """A model named by its framework."""

    storage_uri: str | None = None
    runtime_version: str | None = None
    protocol_version: Protocol | None = None
    storage: StorageSpec | None = None
    confidential: Confidential | None = None


class Model(FrameworkModel, kw_only=True):
    """A model, its format, and optionally the runtime that serves it."""

    model_format: ModelFormat
    runtime: str | None = None


class StorageUri(msgspec.Struct, rename="camel", omit_defaults=True):
    """One of several models of a predictor, and where it is mounted."""

    uri: str
    mount_path: Annotated[str, msgspec.Meta(pattern="^/.*")] = "/mnt/models"


class LoggerStorage(msgspec.Struct, rename="camel", omit_defaults=True):
    """How batches are written to a store, and by whose credentials."""

    path: str | None = None
    key: str | None = None
    schema_path: str | None = None
    parameters: dict[str, str] | None = None
    service_account_name: str | None = None


class Logger(msgspec.Struct, rename="camel", omit_defaults=True):
    """Where requests and responses are recorded.

    ``url`` is a folder (``file://``, ``pvc://``), a bucket (``s3://``, ``gs://``), an address that
    takes CloudEvents, or ``metadata://``, the platform's database; without one the log is kept
    beside the model server and read through it.
    """

    url: str | None = None
    mode: Literal["all", "request", "response"] | None = None
    metadata_headers: list[str] | None = None
    metadata_annotations: list[str] | None = None
    storage: LoggerStorage | None = None
    marshaller_url: str | None = None
    batch_size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    batch_interval: str | None = None


class Batcher(msgspec.Struct, rename="camel", omit_defaults=True):
    """Limits of the batches that requests are merged into."""

    max_batch_size: int | None = None
    max_latency: int | None = None
    timeout: int | None = None


class ServedComponent(InlinePodSpec):
    """A predictor, transformer or explainer: a PodSpec with the fields of serving."""

    min_replicas: Count | None = None
    max_replicas: Count | None = None
    scale_target: int | None = None
    scale_metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None
    scale_metric_type: Literal["Utilization", "Value", "AverageValue"] | None = None
    auto_scaling: AutoScaling | None = None
    container_concurrency: Count | None = None
    timeout: int | None = None
    canary_traffic_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    logger: Logger | None = None
    batcher: Batcher | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deployment_strategy: DeploymentStrategy | None = None
    storage_uris: Annotated[list[StorageUri], msgspec.Meta(min_length=1)] | None = None


class ArtExplainer(InlineContainer):
    """An explainer of the Adversarial Robustness Toolbox; it searches adversarial examples."""

    type: str = ""
    storage_uri: str | None = None
    runtime_version: str | None = None
    config: dict[str, str] | None = None
    storage: StorageSpec | None = None


class Explainer(ServedComponent):
    """What answers ``:explain``: containers of one's own, or ART."""

    art: ArtExplainer | None = None


class WorkerSpec(InlinePodSpec):
    """The pods of a model that is spread over several nodes."""

    pipeline_parallel_size: int | None = None
    tensor_parallel_size: int | None = None


class Predictor(ServedComponent):
    """What answers predictions: a model by format, or containers of one's own."""

    model: Model | None = None
    sklearn: FrameworkModel | None = None
    xgboost: FrameworkModel | None = None
    tensorflow: FrameworkModel | None = None
    pytorch: FrameworkModel | None = None
    triton: FrameworkModel | None = None
    onnx: FrameworkModel | None = None
    huggingface: FrameworkModel | None = None
    pmml: FrameworkModel | None = None
    lightgbm: FrameworkModel | None = None
    paddle: FrameworkModel | None = None
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$")] | None = None
    storage_container_name: str | None = None
    worker_spec: WorkerSpec | None = None


class CanarySpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A predictor on trial: what differs from the stable one, and its share of the requests."""

    predictor: Predictor
    traffic_percent: Annotated[int, msgspec.Meta(ge=0, le=100)]


class InferenceServiceSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model served over HTTP, with a transformer in front of it and an explainer beside it."""

    predictor: Predictor
    transformer: ServedComponent | None = None
    explainer: Explainer | None = None
    canary: list[CanarySpec] | None = None
    tracing: Tracing | None = None


class Custom(msgspec.Struct, rename="camel", omit_defaults=True):
    """A container of one's own, as KFServing spelled it."""

    container: Container


class LegacyPredictor(Predictor):
    """A predictor of the old group."""

    custom: Custom | None = None
    parallelism: Count | None = None


class LegacyTransformer(ServedComponent):
    """A transformer of the old group."""

    custom: Custom | None = None
    parallelism: Count | None = None


class LegacyExplainer(Explainer):
    """An explainer of the old group."""

    custom: Custom | None = None
    parallelism: Count | None = None


class LegacyEndpoint(msgspec.Struct, rename="camel", omit_defaults=True):
    """One of the two models of a v1alpha2 service."""

    predictor: LegacyPredictor
    transformer: LegacyTransformer | None = None
    explainer: LegacyExplainer | None = None


class LegacyInferenceServiceSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model served over HTTP, in the forms KFServing 0.6 took.

    v1beta1 has ``predictor``; v1alpha2 has ``default``, and ``canary`` with its percentage.
    """

    predictor: LegacyPredictor | None = None
    transformer: LegacyTransformer | None = None
    explainer: LegacyExplainer | None = None
    default: LegacyEndpoint | None = None
    canary: LegacyEndpoint | None = None
    canary_traffic_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None


class Address(msgspec.Struct, rename="camel", omit_defaults=True):
    """Where the service answers inside the cluster."""

    url: str | None = None


class TrafficTarget(msgspec.Struct, rename="camel", omit_defaults=True):
    """A revision's share of the requests."""

    revision_name: str | None = None
    latest_revision: bool | None = None
    percent: int | None = None
    tag: str | None = None
    url: str | None = None


class ComponentStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """The revisions of a component and how requests are split among them."""

    latest_ready_revision: str | None = None
    latest_created_revision: str | None = None
    previous_rolledout_revision: str | None = None
    latest_rolledout_revision: str | None = None
    traffic: list[TrafficTarget] | None = None
    url: str | None = None
    rest_url: str | None = None
    grpc_url: str | None = None
    address: Address | None = None


class ModelStates(msgspec.Struct, rename="camel", omit_defaults=True):
    """How far the model in use, and the one wanted, are loaded."""

    active_model_state: str | None = None
    target_model_state: str | None = None


class FailureInfo(msgspec.Struct, rename="camel", omit_defaults=True):
    """The last failure to load a model."""

    location: str | None = None
    reason: str | None = None
    message: str | None = None
    model_revision_name: str | None = None
    time: Time | None = None
    exit_code: int | None = None


class ModelCopies(msgspec.Struct, rename="camel", omit_defaults=True):
    """How many pods hold the model, and how many failed to load it."""

    failed_copies: int | None = None
    total_copies: int | None = None


class ModelStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """The state of the model of the newest revision."""

    transition_status: str | None = None
    states: ModelStates | None = None
    last_failure_info: FailureInfo | None = None
    copies: ModelCopies | None = None


class CanaryStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What was observed of a canary."""

    name: str
    ready: bool
    traffic_percent: int
    model_status: ModelStatus | None = None


class InferenceServiceStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the controller observed."""

    conditions: list[Condition] | None = None
    observed_generation: int | None = None
    url: str | None = None
    address: Address | None = None
    components: dict[str, ComponentStatus] | None = None
    model_status: ModelStatus | None = None
    canary_statuses: list[CanaryStatus] | None = None
    deployment_mode: str | None = None
    serving_runtime_name: str | None = None
    cluster_serving_runtime_name: str | None = None
    replicas: int | None = None
    selector: str | None = None


class SupportedModelFormat(msgspec.Struct, rename="camel", omit_defaults=True):
    """A format a runtime serves; only ``autoSelect`` ones are chosen without being named."""

    name: str
    version: str | None = None
    auto_select: bool | None = None
    priority: int | None = None


class RuntimeWorkerSpec(WorkerSpec):
    """The same, as a runtime says it."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class BuiltInAdapter(msgspec.Struct, rename="camel", omit_defaults=True):
    """ModelMesh's adapter to a server."""

    server_type: str | None = None
    runtime_management_port: int | None = None
    mem_buffer_bytes: int | None = None
    model_loading_timeout_millis: int | None = None
    env: list[EnvVar] | None = None


class StorageHelper(msgspec.Struct, rename="camel", omit_defaults=True):
    """ModelMesh's helper that fetches models."""

    disabled: bool | None = None


class ServingRuntimeSpec(InlinePodSpec):
    """A pod template that serves models of certain formats."""

    supported_model_formats: list[SupportedModelFormat] | None = None
    protocol_versions: list[str] | None = None
    multi_model: bool | None = None
    disabled: bool | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    worker_spec: RuntimeWorkerSpec | None = None
    grpc_endpoint: str | None = None
    grpc_data_endpoint: str | None = None
    http_data_endpoint: str | None = None
    replicas: int | None = None
    built_in_adapter: BuiltInAdapter | None = None
    storage_helper: StorageHelper | None = None


_SERVICE_COLUMNS: Final = (
    Column("URL", ".status.url"),
    Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
    Column("Prev", ".status.components.predictor.traffic[?(@.tag=='prev')].percent", "integer"),
    Column(
        "Latest",
        ".status.components.predictor.traffic[?(@.latestRevision==true)].percent",
        "integer",
    ),
    Column(
        "PrevRolledoutRevision",
        ".status.components.predictor.traffic[?(@.tag=='prev')].revisionName",
    ),
    Column(
        "LatestReadyRevision",
        ".status.components.predictor.traffic[?(@.latestRevision==true)].revisionName",
    ),
)
_RUNTIME_COLUMNS: Final = (
    Column("Disabled", ".spec.disabled", "boolean"),
    Column("ModelType", ".spec.supportedModelFormats[*].name"),
    Column("Containers", ".spec.containers[*].name"),
)
_SCALE: Final = Scale(".spec.predictor.minReplicas", ".status.replicas", ".status.selector")


def crds() -> list[Obj]:
    """The definitions of the room's kinds."""
    return [
        _service(INFERENCE_SERVICES, InferenceServiceSpec),
        _service(
            LEGACY_INFERENCE_SERVICES,
            LegacyInferenceServiceSpec,
            Version(V1ALPHA2_INFERENCE_SERVICES.version),
        ),
        *(
            crd(resource, ServingRuntimeSpec, columns=_RUNTIME_COLUMNS)
            for resource in (SERVING_RUNTIMES, CLUSTER_SERVING_RUNTIMES)
        ),
    ]


def _service(resource: Resource, spec: Any, *versions: Version) -> Obj:
    return crd(
        resource,
        spec,
        InferenceServiceStatus,
        columns=_SERVICE_COLUMNS,
        scale=_SCALE,
        versions=versions,
    )
