"""The messages of ``inference.GRPCInferenceService``, with upstream's names and numbers.

Sources: kserve's python/kserve/kserve/protocol/grpc/grpc_predict_v2.proto, the Open Inference
Protocol's specification, and Triton's grpc_service.proto for the repository's index and for the
parameters that only it has. Where the first and the last differ (the name of a model to load is
field 1 in kserve's, field 2 in Triton's), both are read.
"""

from __future__ import annotations

from kubeling.rpc.wire import (
    Message,
    blobs,
    boolean,
    booleans,
    doubles,
    floats,
    integers,
    longs,
    message,
    message_map,
    messages,
    optional_boolean,
    optional_double,
    optional_long,
    optional_text,
    optional_unsigned,
    text,
    texts,
    unsigneds,
)


class ServerLiveRequest(Message):
    pass


class ServerLiveResponse(Message):
    live: bool = boolean(1)


class ServerReadyRequest(Message):
    pass


class ServerReadyResponse(Message):
    ready: bool = boolean(1)


class ModelReadyRequest(Message):
    name: str = text(1)
    version: str = text(2)


class ModelReadyResponse(Message):
    ready: bool = boolean(1)


class ServerMetadataRequest(Message):
    pass


class ServerMetadataResponse(Message):
    name: str = text(1)
    version: str = text(2)
    extensions: list[str] = texts(3)


class ModelMetadataRequest(Message):
    name: str = text(1)
    version: str = text(2)


class TensorMetadata(Message):
    name: str = text(1)
    datatype: str = text(2)
    shape: list[int] = longs(3)


class ModelMetadataResponse(Message):
    name: str = text(1)
    versions: list[str] = texts(2)
    platform: str = text(3)
    inputs: list[TensorMetadata] = messages(4, TensorMetadata)
    outputs: list[TensorMetadata] = messages(5, TensorMetadata)


class InferParameter(Message):
    bool_param: bool | None = optional_boolean(1)
    int64_param: int | None = optional_long(2)
    string_param: str | None = optional_text(3)
    double_param: float | None = optional_double(4)
    uint64_param: int | None = optional_unsigned(5)


class InferTensorContents(Message):
    bool_contents: list[bool] = booleans(1)
    int_contents: list[int] = integers(2)
    int64_contents: list[int] = longs(3)
    uint_contents: list[int] = unsigneds(4)
    uint64_contents: list[int] = unsigneds(5)
    fp32_contents: list[float] = floats(6)
    fp64_contents: list[float] = doubles(7)
    bytes_contents: list[bytes] = blobs(8)


class InferTensor(Message):
    """``InferInputTensor`` and ``InferOutputTensor``, which are alike."""

    name: str = text(1)
    datatype: str = text(2)
    shape: list[int] = longs(3)
    parameters: dict[str, InferParameter] = message_map(4, InferParameter)
    contents: InferTensorContents = message(5, InferTensorContents)


class InferRequestedOutputTensor(Message):
    name: str = text(1)
    parameters: dict[str, InferParameter] = message_map(2, InferParameter)


class ModelInferRequest(Message):
    model_name: str = text(1)
    model_version: str = text(2)
    id: str = text(3)
    parameters: dict[str, InferParameter] = message_map(4, InferParameter)
    inputs: list[InferTensor] = messages(5, InferTensor)
    outputs: list[InferRequestedOutputTensor] = messages(6, InferRequestedOutputTensor)
    raw_input_contents: list[bytes] = blobs(7)


class ModelInferResponse(Message):
    model_name: str = text(1)
    model_version: str = text(2)
    id: str = text(3)
    parameters: dict[str, InferParameter] = message_map(4, InferParameter)
    outputs: list[InferTensor] = messages(5, InferTensor)
    raw_output_contents: list[bytes] = blobs(6)


class RepositoryParameter(Message):
    """What Triton's clients may say of a load; that there is one is all that is read."""

    string_param: str = text(3)


class RepositoryModelRequest(Message):
    """A model to load or to unload: kserve has its name first, Triton the repository's."""

    first: str = text(1)
    second: str = text(2)
    parameters: dict[str, RepositoryParameter] = message_map(3, RepositoryParameter)

    @property
    def model_name(self) -> str:
        return self.second or self.first


class RepositoryModelResponse(Message):
    model_name: str = text(1)
    done: bool = boolean(2)


class RepositoryIndexRequest(Message):
    repository_name: str = text(1)
    ready: bool = boolean(2)


class ModelIndex(Message):
    name: str = text(1)
    version: str = text(2)
    state: str = text(3)
    reason: str = text(4)


class RepositoryIndexResponse(Message):
    models: list[ModelIndex] = messages(1, ModelIndex)
