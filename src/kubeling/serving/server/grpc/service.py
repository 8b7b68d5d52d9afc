"""Answers the Open Inference Protocol over gRPC; refusals have the status of their kind.

Source: kserve's python/kserve/kserve/protocol/grpc/servicer.py; there, what a model fails with is
INVALID_ARGUMENT too, here it is INTERNAL, as over REST it is 500 and not 400.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from kubeling.monitoring.tracing import Tracer
from kubeling.rpc.calls import Code, Limits, Method, RpcError
from kubeling.rpc.server import Handler, metadata, serving
from kubeling.rpc.wire import Message
from kubeling.serving.server.app import EXTENSIONS
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import ServingError
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.grpc import methods
from kubeling.serving.server.grpc.conversion import request_from, response_to
from kubeling.serving.server.grpc.tracing import traced_call
from kubeling.serving.server.repository import check_overrides

__all__ = ["answering"]

_CODES: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    422: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_PROBES: Final = {methods.SERVER_LIVE, methods.SERVER_READY, methods.MODEL_READY}


@contextlib.asynccontextmanager
async def answering(
    plane: DataPlane,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    listening: socket.socket | None = None,
    limits: Limits | None = None,
    elsewhere: Callable[[str, str], Awaitable[None]] | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[int]:
    """Answers until the block is left; gives the port.

    ``listening`` is a socket that listens. ``elsewhere`` is called with each model that was loaded
    or unloaded here, and which of the two it was.
    """
    service = _Service(plane, elsewhere)
    handlers: dict[Method[Any, Any], Handler] = {
        methods.SERVER_LIVE: service.live,
        methods.SERVER_READY: service.ready,
        methods.SERVER_METADATA: service.server,
        methods.MODEL_READY: service.model_ready,
        methods.MODEL_METADATA: service.model,
        methods.MODEL_INFER: service.infer,
        methods.REPOSITORY_INDEX: service.index,
        methods.REPOSITORY_MODEL_LOAD: service.load,
        methods.REPOSITORY_MODEL_UNLOAD: service.unload,
    }
    translated = {method: _translating(handler) for method, handler in handlers.items()}
    if tracer is not None:
        translated |= {
            method: traced_call(method, translated[method], tracer)
            for method in translated.keys() - _PROBES
        }
    async with serving(translated, host, port, listening=listening, limits=limits) as found:
        yield found


def _translating(handler: Handler) -> Handler:
    async def answer(asked: Any) -> Message | bytes:
        try:
            return await handler(asked)
        except ServingError as error:
            code = _CODES.get(error.http_status, Code.INTERNAL)
            raise RpcError(code, str(error)) from error

    return answer


class _Service:
    """A method of this for each of the protocol's."""

    def __init__(
        self, plane: DataPlane, elsewhere: Callable[[str, str], Awaitable[None]] | None
    ) -> None:
        self._plane = plane
        self._elsewhere = elsewhere
        self._repository = plane.repository

    async def live(self, _: m.ServerLiveRequest) -> m.ServerLiveResponse:
        return m.ServerLiveResponse(live=True)

    async def ready(self, _: m.ServerReadyRequest) -> m.ServerReadyResponse:
        return m.ServerReadyResponse(ready=await self._plane.ready())

    async def server(self, _: m.ServerMetadataRequest) -> m.ServerMetadataResponse:
        from kubeling import __version__

        return m.ServerMetadataResponse("kubeling", __version__, list(EXTENSIONS))

    async def model_ready(self, asked: m.ModelReadyRequest) -> m.ModelReadyResponse:
        ready = await self._plane.model_ready(asked.name, asked.version)
        return m.ModelReadyResponse(ready=ready)

    async def model(self, asked: m.ModelMetadataRequest) -> m.ModelMetadataResponse:
        model = self._repository.model(asked.name, asked.version)
        ready = await model.healthy()
        return m.ModelMetadataResponse(
            asked.name,
            self._repository.versions(asked.name),
            model.platform,
            _described(model.get_input_types() if ready else []),
            _described(model.get_output_types() if ready else []),
        )

    async def infer(self, asked: m.ModelInferRequest) -> m.ModelInferResponse:
        answer, _ = await self._plane.v2(
            asked.model_name, asked.model_version, lambda: request_from(asked), metadata()
        )
        return response_to(answer)

    async def index(self, asked: m.RepositoryIndexRequest) -> m.RepositoryIndexResponse:
        entries = self._repository.index()
        return m.RepositoryIndexResponse(
            [
                m.ModelIndex(entry.name, entry.version, entry.state, entry.reason)
                for entry in entries
                if entry.state == "READY" or not asked.ready
            ]
        )

    async def load(self, asked: m.RepositoryModelRequest) -> m.RepositoryModelResponse:
        check_overrides(asked.parameters)
        await self._repository.load(asked.model_name)
        if self._elsewhere is not None:
            await self._elsewhere(asked.model_name, "load")
        return m.RepositoryModelResponse(asked.model_name, done=True)

    async def unload(self, asked: m.RepositoryModelRequest) -> m.RepositoryModelResponse:
        await self._repository.unload(asked.model_name)
        if self._elsewhere is not None:
            await self._elsewhere(asked.model_name, "unload")
        return m.RepositoryModelResponse(asked.model_name, done=True)


def _described(found: list[dict[str, Any]]) -> list[m.TensorMetadata]:
    return [m.TensorMetadata(t["name"], t["datatype"], list(t["shape"])) for t in found]
