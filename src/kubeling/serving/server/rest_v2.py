"""Bodies of the Open Inference Protocol over REST, with the binary tensor extension.

Sources: open-inference-protocol, specification/protocol/inference_rest.md; the extension is
Triton's (``binary_data_size``, ``binary_data``, ``binary_data_output`` and the header
``Inference-Header-Content-Length``), as kserve's server and clients speak it. FP16 travels in
bytes only, there as here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.infer_types import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    RequestedOutput,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HEADER", "decode_request", "decode_response", "encode_tensors"]

HEADER: Final = "Inference-Header-Content-Length"
"""The length of the JSON before the tensors' bytes."""

_Tensor = InferInput | InferOutput


class _WireTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


class _WireOutput(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _WireRequest(msgspec.Struct):
    inputs: list[_WireTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_WireOutput] | None = None


class _WireResponse(msgspec.Struct):
    outputs: list[_WireTensor]
    model_name: str = ""
    model_version: str | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None


_REQUEST: Final = msgspec.json.Decoder(_WireRequest)
_RESPONSE: Final = msgspec.json.Decoder(_WireResponse)
_EXPECTED: Final = 'expected {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'


def decode_request(body: bytes, json_length: int | None, model_name: str) -> InferRequest:
    """The request in a body; raises :class:`InvalidInput`."""
    head, rest = _split(body, json_length)
    try:
        found = _REQUEST.decode(head)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{_EXPECTED}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None
    if not found.inputs:
        raise InvalidInput(f"{_EXPECTED}: there are no inputs")
    inputs = [InferInput(t.name, t.shape, t.datatype, t.data, t.parameters) for t in found.inputs]
    _fill(inputs, found.inputs, rest)
    asked = [RequestedOutput(output.name, output.parameters) for output in found.outputs or ()]
    parameters, outputs = found.parameters, asked or None
    return InferRequest(
        model_name, inputs, found.id, parameters=parameters, request_outputs=outputs
    )


def decode_response(body: bytes, json_length: int | None) -> InferResponse:
    """The answer in a body; raises :class:`InvalidInput`."""
    head, rest = _split(body, json_length)
    try:
        found = _RESPONSE.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not an answer of the Open Inference Protocol: {error}") from None
    outputs = [
        InferOutput(t.name, t.shape, t.datatype, t.data, t.parameters) for t in found.outputs
    ]
    _fill(outputs, found.outputs, rest)
    return InferResponse(
        found.id, found.model_name, outputs, found.model_version, parameters=found.parameters
    )


def encode_tensors(
    head: dict[str, Any], key: str, wanted: Iterable[tuple[_Tensor, bool]]
) -> tuple[bytes | dict[str, Any], int | None]:
    """The body with these tensors, and the length of its JSON if bytes follow it."""
    described, raw = [], []
    for tensor, binary in wanted:
        shown: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        parameters = dict(tensor.parameters or ())
        parameters.pop("binary_data_size", None)
        if binary:
            raw.append(_bytes_of(tensor))
            parameters["binary_data_size"] = len(raw[-1])
        else:
            shown["data"] = _json_of(tensor)
        if parameters:
            shown["parameters"] = parameters
        described.append(shown)
    body = {**head, key: described}
    if not raw:
        return body, None
    encoded = msgspec.json.encode(body)
    return b"".join([encoded, *raw]), len(encoded)


def _split(body: bytes, json_length: int | None) -> tuple[bytes, memoryview]:
    if json_length is None:
        return body, memoryview(b"")
    if not 0 <= json_length <= len(body):
        raise InvalidInput(
            f"{HEADER} says that the JSON has {json_length} bytes, but the body has {len(body)}"
        )
    return body[:json_length], memoryview(body)[json_length:]


def _fill(found: Sequence[_Tensor], sent: Sequence[_WireTensor], rest: memoryview) -> None:
    """Gives tensors their bytes, and refuses those that have none or both."""
    place = 0
    for tensor, wire in zip(found, sent, strict=True):
        size = wire.parameters.get("binary_data_size") if wire.parameters else None
        if size is None:
            _check_data(wire)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidInput(f'"{wire.name}": binary_data_size must be a number of bytes')
        if wire.data is not None:
            raise InvalidInput(f'"{wire.name}" has both data and binary_data_size; send one')
        if place + size > len(rest):
            raise InvalidInput(
                f'"{wire.name}": binary_data_size is {size}, but only {len(rest) - place} bytes '
                f"are left after the JSON; its length belongs in the header {HEADER}"
            )
        tensor.set_raw(bytes(rest[place : place + size]))
        place += size
    if place != len(rest):
        raise InvalidInput(f"{len(rest) - place} bytes after the JSON belong to no tensor")


def _check_data(wire: _WireTensor) -> None:
    if wire.data is None:
        raise InvalidInput(f'"{wire.name}" has no data; send data, or bytes and binary_data_size')
    if wire.datatype.upper() == "FP16":
        raise InvalidInput(
            f'"{wire.name}": FP16 cannot be sent as JSON; send its bytes, or FP32 instead'
        )


def _array_of(tensor: _Tensor) -> NDArray[Any]:
    return tensor.data if isinstance(tensor.data, np.ndarray) else tensor.as_numpy()


def _bytes_of(tensor: _Tensor) -> bytes:
    return tensors.bytes_of_array(_array_of(tensor)) if tensor.raw is None else tensor.raw


def _json_of(tensor: _Tensor) -> list[Any]:
    if tensor.datatype == "FP16":
        raise InvalidInput(
            f'"{tensor.name}" is FP16, which JSON cannot hold; ask for binary output: '
            '{"parameters": {"binary_data_output": true}}'
        )
    data = tensor.data
    if isinstance(data, list) and tensor.datatype != "BYTES":
        return data
    return tensors.json_of_array(_array_of(tensor))
