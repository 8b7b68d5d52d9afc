"""The kinds of models kept on nodes, as KServe spells them.

A cache names a model and groups of nodes; a LocalModelNode lists what one node keeps, and says how
far it is. The definitions are upstream's (``local_model_cache_types.go`` and its neighbours).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from kubeling.kube.crd import IntOrString, Ref, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "CACHES",
    "LOCAL_MODEL_CACHES",
    "LOCAL_MODEL_NAMESPACE_CACHES",
    "LOCAL_MODEL_NODES",
    "LOCAL_MODEL_NODE_GROUPS",
    "local_model_definitions",
]

_GROUP: Final = "serving.kserve.io"

LOCAL_MODEL_CACHES: Final = Resource(
    _GROUP, "v1alpha1", "LocalModelCache", "localmodelcaches", False
)
LOCAL_MODEL_NAMESPACE_CACHES: Final = Resource(
    _GROUP, "v1alpha1", "LocalModelNamespaceCache", "localmodelnamespacecaches"
)
LOCAL_MODEL_NODE_GROUPS: Final = Resource(
    _GROUP, "v1alpha1", "LocalModelNodeGroup", "localmodelnodegroups", False
)
LOCAL_MODEL_NODES: Final = Resource(_GROUP, "v1alpha1", "LocalModelNode", "localmodelnodes", False)
CACHES: Final = (LOCAL_MODEL_NAMESPACE_CACHES, LOCAL_MODEL_CACHES)
"""Both kinds of cache; where both hold a model, the namespace's own is used."""

_VolumeSpec = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.PersistentVolumeSpec")]
_ClaimSpec = Annotated[dict[str, Any], Ref("io.k8s.api.core.v1.PersistentVolumeClaimSpec")]
NodeStatus = Literal[
    "",
    "NodeNotReady",
    "NodeDownloadPending",
    "NodeDownloading",
    "NodeDownloaded",
    "NodeDownloadError",
]
ModelStatus = Literal[
    "", "ModelDownloadPending", "ModelDownloading", "ModelDownloaded", "ModelDownloadError"
]


class LocalModelStorage(msgspec.Struct, rename="camel", omit_defaults=True):
    """An entry of the secret ``storage-config`` that opens the model's store."""

    key: str | None = None
    parameters: dict[str, str] | None = None


class LocalModelCacheSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model, its size, and the nodes that are to keep it."""

    source_model_uri: str
    model_size: IntOrString
    node_groups: Annotated[list[str], msgspec.Meta(min_length=1)]
    service_account_name: str | None = None
    storage: LocalModelStorage | None = None


class NamespacedName(msgspec.Struct, rename="camel", omit_defaults=True):
    """A service that uses a model."""

    namespace: str | None = None
    name: str | None = None


class Copies(msgspec.Struct, rename="camel", omit_defaults=True):
    """On how many nodes a model is."""

    available: int | None = None
    total: int | None = None
    failed: int | None = None


class LocalModelCacheStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """On which nodes a model is, and who uses it."""

    node_status: dict[str, NodeStatus] | None = None
    copies: Copies | None = None
    inference_services: list[NamespacedName] | None = None
    llm_inference_services: list[NamespacedName] | None = None


class LocalModelInfo(msgspec.Struct, rename="camel", omit_defaults=True):
    """A model that a node is to keep."""

    source_model_uri: str
    model_name: str
    namespace: str | None = None
    node_group: str | None = None
    service_account_name: str | None = None
    storage: LocalModelStorage | None = None


class LocalModelNodeSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a node is to keep."""

    local_models: list[LocalModelInfo]


class LocalModelNodeStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """How far each model is, by its name, or its namespace and name."""

    model_status: dict[str, ModelStatus] | None = None


class LocalModelNodeGroupSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """Nodes with a place for models: volumes and claims are made by these specs."""

    storage_limit: IntOrString
    persistent_volume_spec: _VolumeSpec
    persistent_volume_claim_spec: _ClaimSpec


class LocalModelNodeGroupStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """How full the place is."""

    used: IntOrString | None = None
    available: IntOrString | None = None


def local_model_definitions() -> list[Obj]:
    """The definitions of the kinds. Upstream's do without a ``spec``, which means nothing."""
    return [
        crd(LOCAL_MODEL_CACHES, LocalModelCacheSpec, LocalModelCacheStatus),
        crd(LOCAL_MODEL_NAMESPACE_CACHES, LocalModelCacheSpec, LocalModelCacheStatus),
        crd(LOCAL_MODEL_NODE_GROUPS, LocalModelNodeGroupSpec, LocalModelNodeGroupStatus),
        crd(LOCAL_MODEL_NODES, LocalModelNodeSpec, LocalModelNodeStatus),
    ]
