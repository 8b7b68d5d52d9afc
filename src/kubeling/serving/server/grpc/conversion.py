"""Messages of gRPC to requests and answers, and back.

A tensor's elements are in the list of ``contents`` that its datatype has, or all tensors' bytes are
in ``raw_input_contents``; not some of each. FP16 has no list, so it travels in bytes. What was sent
as bytes is answered as bytes, as upstream's server does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.errors import InferenceError, InvalidInput
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.infer_types import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    RequestedOutput,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["request_from", "request_to", "response_from", "response_to"]

_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def request_from(asked: m.ModelInferRequest) -> InferRequest:
    """The request in a message; raises :class:`InvalidInput`."""
    raw = asked.raw_input_contents
    _check_raw(asked.inputs, raw, "raw_input_contents")
    if not asked.inputs:
        raise InvalidInput("the request has no inputs")
    inputs = [
        InferInput(t.name, t.shape, t.datatype, _contents(t, bool(raw)), _values(t.parameters))
        for t in asked.inputs
    ]
    outputs = [RequestedOutput(o.name, _values(o.parameters)) for o in asked.outputs]
    return InferRequest(
        asked.model_name,
        inputs,
        asked.id or None,
        raw_inputs=raw,
        from_grpc=True,
        parameters=_values(asked.parameters),
        request_outputs=outputs or None,
        model_version=asked.model_version or None,
    )


def request_to(request: InferRequest) -> m.ModelInferRequest:
    """The message of a request; its tensors travel as bytes."""
    return m.ModelInferRequest(
        model_name=request.model_name,
        model_version=request.model_version or "",
        id=request.id or "",
        parameters=_parameters(request.parameters),
        inputs=[_described(tensor) for tensor in request.inputs],
        outputs=[
            m.InferRequestedOutputTensor(output.name, _parameters(output.parameters))
            for output in request.request_outputs or ()
        ],
        raw_input_contents=[tensors.bytes_of_array(_array(t)) for t in request.inputs],
    )


def response_from(answered: m.ModelInferResponse) -> InferResponse:
    """The answer in a message; raises :class:`InvalidInput`."""
    raw = answered.raw_output_contents
    _check_raw(answered.outputs, raw, "raw_output_contents")
    outputs = [
        InferOutput(t.name, t.shape, t.datatype, _contents(t, bool(raw)), _values(t.parameters))
        for t in answered.outputs
    ]
    return InferResponse(
        answered.id or None,
        answered.model_name,
        outputs,
        answered.model_version or None,
        raw_outputs=raw,
        from_grpc=True,
        parameters=_values(answered.parameters),
    )


def response_to(response: InferResponse) -> m.ModelInferResponse:
    """The message of an answer, in bytes if one of its tensors has to be."""
    chosen = response.chosen()
    raw = any(binary or tensor.datatype == "FP16" for tensor, binary in chosen)
    message = m.ModelInferResponse(
        model_name=response.model_name,
        model_version=response.model_version or "",
        id=response.id or "",
        parameters=_parameters(response.parameters),
        outputs=[_described(tensor) for tensor, _ in chosen],
    )
    for (tensor, _), described in zip(chosen, message.outputs, strict=True):
        if raw:
            message.raw_output_contents.append(tensors.bytes_of_array(_array(tensor)))
        else:
            _fill(described, _array(tensor))
    return message


def _described(tensor: InferInput | InferOutput) -> m.InferTensor:
    kept = {k: v for k, v in (tensor.parameters or {}).items() if k != "binary_data_size"}
    return m.InferTensor(tensor.name, tensor.datatype, list(tensor.shape), _parameters(kept))


def _array(tensor: InferInput | InferOutput) -> NDArray[Any]:
    array = tensor.as_numpy()
    dtype = tensors.DATATYPES[tensor.datatype]
    return array if array.dtype == dtype else array.astype(dtype)


def _fill(described: m.InferTensor, array: NDArray[Any]) -> None:
    values: list[Any] = array.ravel().tolist()
    if described.datatype == "BYTES":
        values = [v if isinstance(v, bytes) else str(v).encode() for v in values]
    setattr(described.contents, _CONTENTS[described.datatype], values)


def _contents(tensor: m.InferTensor, raw: bool) -> list[Any] | None:
    if raw:
        return None
    name = _CONTENTS.get(tensor.datatype.upper())
    if name is None:
        text = f'"{tensor.name}": datatype {tensor.datatype} has no contents'
        raise InvalidInput(f"{text}; known: {', '.join(_CONTENTS)}; FP16 in raw_input_contents")
    found: list[Any] = getattr(tensor.contents, name)
    return found


def _check_raw(described: Sequence[m.InferTensor], raw: Sequence[bytes], name: str) -> None:
    if not raw:
        return
    if len(raw) != len(described):
        raise InvalidInput(f"{name} has {len(raw)} tensors, but {len(described)} are described")
    if filled := [t.name for t in described if t.contents != m.InferTensorContents()]:
        raise InvalidInput(f'"{filled[0]}" has contents beside {name}; send one or the other')


def _values(parameters: Mapping[str, m.InferParameter]) -> dict[str, Any] | None:
    found = {name: _value(parameter) for name, parameter in parameters.items()}
    return found or None


def _value(parameter: m.InferParameter) -> Any:
    members = vars(parameter).values()
    return next((member for member in members if member is not None), None)


def _parameters(values: Mapping[str, Any] | None) -> dict[str, m.InferParameter]:
    return {name: _parameter(name, value) for name, value in (values or {}).items()}


def _parameter(name: str, value: Any) -> m.InferParameter:
    match value:
        case bool():
            return m.InferParameter(bool_param=value)
        case int() | np.integer():
            return m.InferParameter(int64_param=int(value))
        case float() | np.floating():
            return m.InferParameter(double_param=float(value))
        case str():
            return m.InferParameter(string_param=value)
        case None:
            return m.InferParameter()
        case _:
            kind = type(value).__name__
            raise InferenceError(f'parameter "{name}" is a {kind}, which gRPC cannot carry')
