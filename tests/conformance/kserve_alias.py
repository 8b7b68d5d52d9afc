"""A plugin of pytest: upstream's tests of its model server, put to ours.

``kserve`` becomes ``kubeling.serving.kserve``. The tests ask their server through FastAPI's client
in the same process; here that is a client of a server of ours on a port, with the tests' models.
gRPC's test server calls ours by gRPC, with upstream's own messages, read from its checkout
(``KSERVE_CHECKOUT``).
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import json
import os
import pkgutil
import sys
import threading
import types
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import httpx
import numpy as np
import pytest

import kubeling.serving.kserve as ours
from kubeling.serving.kserve.errors import InvalidInput
from kubeling.serving.server import predictor
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.grpc.service import answering
from kubeling.serving.server.http import listening
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.tensors import bytes_of_array


class Loop:
    """An event loop in a thread of its own, where servers run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


LOOP = Loop()


class Server:
    """``ModelServer`` as the tests use it: models are added and taken away while it answers."""

    def __init__(self, registered_models: ModelRepository | None = None) -> None:
        self.dataplane = DataPlane(registered_models or ModelRepository())
        self.model_repository_extension = self

    def register_model(self, model: Any) -> None:
        self.dataplane.repository.update(model)

    async def unload(self, name: str) -> None:
        await self.dataplane.repository.unload(name)

    @property
    def _model_registry(self) -> ModelRepository:
        return self.dataplane.repository

    @_model_registry.setter
    def _model_registry(self, repository: ModelRepository) -> None:
        self.dataplane.repository = repository
        if Listener.app is not None:
            Listener.app._repository = repository


SERVER = Server()


class Listener:
    """A port where the server answers, found when it is first asked for."""

    port = 0
    open: Any = None
    app: Any = None

    @classmethod
    def base_url(cls) -> str:
        if not cls.port:
            app = cls.app = ModelApp(SERVER.dataplane, None)
            cls.open = listening(app)
            cls.port = LOOP.run(cls.open.__aenter__())
        return f"http://127.0.0.1:{cls.port}"


class Body(bytes):
    """An answer's bytes, equal to others with the same JSON, and the same bytes behind it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes) and _read(self) == _read(other)

    __hash__ = bytes.__hash__


def _read(body: bytes) -> tuple[Any, str]:
    text = body.decode("latin-1")
    try:
        found, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None, text
    return _without_nulls(found), text[end:]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


class Answer(httpx.Response):
    """An answer whose content is compared as JSON."""

    @property
    def content(self) -> bytes:
        return Body(super().content)


class Client(httpx.Client):
    """FastAPI's ``TestClient``."""

    def __init__(self, _: Any, headers: Any = None) -> None:
        super().__init__(base_url=Listener.base_url(), headers=headers, timeout=60)

    def send(self, *arguments: Any, **options: Any) -> httpx.Response:
        answer = super().send(*arguments, **options)
        if not options.get("stream"):
            answer.__class__ = Answer
        return answer


class Call:
    """An answer of gRPC's test server."""

    def __init__(self, answer: Any, code: Any, details: str) -> None:
        self._found = (answer, (), code, details)

    def termination(self) -> Any:
        """As a servicer's coroutine, which raises what it refuses a request with."""
        answer, metadata, code, details = self._found

        async def answered() -> Any:
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                raise InvalidInput(details)
            return answer

        return answered(), metadata, code, details


class GrpcServer:
    """``grpc_testing``'s server of one servicer."""

    def __init__(self, server: Server) -> None:
        self._open = answering(server.dataplane)
        self._port = LOOP.run(self._open.__aenter__())

    def invoke_unary_unary(
        self, method_descriptor: Any, invocation_metadata: Any, request: Any, timeout: Any
    ) -> Call:
        method = method_descriptor
        messages = sys.modules["kserve.protocol.grpc.grpc_predict_v2_pb2"]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
            call = channel.unary_unary(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=getattr(messages, method.output_type.name).FromString,
            )
            try:
                return Call(call(request, timeout=60), grpc.StatusCode.OK, "")
            except grpc.RpcError as error:
                return Call(None, error.code(), error.details())


def _alias() -> None:
    sys.modules["kserve"] = ours
    for found in pkgutil.walk_packages(ours.__path__, "kubeling.serving.kserve."):
        module = importlib.import_module(found.name)
        sys.modules[found.name.removeprefix("kubeling.serving.")] = module
    constants = sys.modules["kserve.constants.constants"]
    constants.__dict__.setdefault("FASTAPI_APP_IMPORT_STRING", "")
    types_module = sys.modules["kserve.protocol.infer_type"]
    types_module.__dict__.update(serialize_byte_tensor=_serialized, _contains_fp16_datatype=_fp16)
    models = dict.fromkeys(("InferenceRequest", "RequestInput", "RequestOutput"))
    _stand("kserve.protocol.rest.v2_datamodels", **models)
    _stand("kserve.context", get_predictor_config=predictor.current_predictor)
    sys.modules["kserve.context"].__dict__["set_predictor_config"] = predictor.set_predictor
    _stand("kserve.ray", RayModel=ours.Model)
    _stand("ray", serve=_stand("ray.serve", deployment=lambda model: model))
    _stand("kserve.protocol.dataplane", DataPlane=DataPlane)
    _stand("kserve.protocol.model_repository_extension", ModelRepositoryExtension=Server)
    _stand("kserve.protocol.rest")
    _stand("kserve.protocol.rest.multiprocess")
    _stand("kserve.protocol.rest.multiprocess.server", RESTServerMultiProcess=None)
    grpc_package = _stand("kserve.protocol.grpc")
    servicer = _stand(
        "kserve.protocol.grpc.servicer",
        InferenceServicer=lambda plane, _: plane,
        to_headers=None,
    )
    root = Path(os.environ["KSERVE_CHECKOUT"]) / "python/kserve/kserve/protocol"
    messages = _loaded("kserve.protocol.grpc.grpc_predict_v2_pb2", root / "grpc")
    grpc_package.__dict__.update(grpc_predict_v2_pb2=messages, servicer=servicer)
    _stand("sklearnserver", SKLearnModel=functools.partial(Loaded, "sklearn"))
    _stand("xgbserver", XGBoostModel=functools.partial(Loaded, "xgboost"))
    _stand("lgbserver", LightGBMModel=functools.partial(Loaded, "lightgbm"))
    client = importlib.import_module("fastapi.testclient")
    client.__dict__["TestClient"] = Client
    grpc_testing.server_from_dictionary = lambda servicers, _: GrpcServer(_server_of(servicers))
    ours.ModelServer.dataplane = property(lambda server: DataPlane(server.registered_models))
    ours.ModelServer.model_repository_extension = None


def _serialized(array: Any) -> Any:
    """A tensor of BYTES in bytes, in an array of one object."""
    return np.array([bytes_of_array(array)], dtype=object)


def _fp16(response: Any) -> bool:
    return any(output.datatype == "FP16" for output in response.outputs)


def _server_of(servicers: Any) -> Server:
    server = Server()
    (server.dataplane,) = servicers.values()
    return server


class Loaded:
    """A model of a format as upstream's servers have it: it answers whoever calls it."""

    def __init__(self, kind: str, name: str, directory: str, *_: Any) -> None:
        self.model = create_model(kind, name, Path(directory))

    def load(self) -> bool:
        self.model.load()
        self.model.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None) -> Any:
        async def predicted() -> Any:
            return await self.model.predict(payload, headers or {})

        return LOOP.run(predicted())


def _stand(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__path__ = []
    module.__dict__.update(content)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)
    return module


def _loaded(name: str, folder: Path) -> types.ModuleType:
    file = folder / f"{name.rpartition('.')[2]}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def server() -> Server:
    return SERVER


_alias()
