"""The methods of ``inference.GRPCInferenceService``, all of which are unary calls."""

from __future__ import annotations

from typing import Final

from kubeling.rpc.calls import Method
from kubeling.serving.server.grpc import messages as m

__all__ = [
    "MODEL_INFER",
    "MODEL_METADATA",
    "MODEL_READY",
    "REPOSITORY_INDEX",
    "REPOSITORY_MODEL_LOAD",
    "REPOSITORY_MODEL_UNLOAD",
    "SERVER_LIVE",
    "SERVER_METADATA",
    "SERVER_READY",
]

_SERVICE: Final = "inference.GRPCInferenceService"

SERVER_LIVE: Final = Method(_SERVICE, "ServerLive", m.ServerLiveRequest, m.ServerLiveResponse)
SERVER_READY: Final = Method(_SERVICE, "ServerReady", m.ServerReadyRequest, m.ServerReadyResponse)
MODEL_READY: Final = Method(_SERVICE, "ModelReady", m.ModelReadyRequest, m.ModelReadyResponse)
SERVER_METADATA: Final = Method(
    _SERVICE, "ServerMetadata", m.ServerMetadataRequest, m.ServerMetadataResponse
)
MODEL_METADATA: Final = Method(
    _SERVICE, "ModelMetadata", m.ModelMetadataRequest, m.ModelMetadataResponse
)
MODEL_INFER: Final = Method(_SERVICE, "ModelInfer", m.ModelInferRequest, m.ModelInferResponse)
REPOSITORY_INDEX: Final = Method(
    _SERVICE, "RepositoryIndex", m.RepositoryIndexRequest, m.RepositoryIndexResponse
)
REPOSITORY_MODEL_LOAD: Final = Method(
    _SERVICE, "RepositoryModelLoad", m.RepositoryModelRequest, m.RepositoryModelResponse
)
REPOSITORY_MODEL_UNLOAD: Final = Method(
    _SERVICE, "RepositoryModelUnload", m.RepositoryModelRequest, m.RepositoryModelResponse
)
