"""Requests and answers of the Open Inference Protocol, as models see them.

The names, arguments and methods are those of ``kserve``'s ``InferRequest``, ``InferResponse``,
``InferInput``, ``InferOutput`` and ``RequestedOutput`` (python/kserve, protocol/infer_type.py), so
that models written for it run here. One form serves all three ways a tensor travels: JSON, the
bytes after the JSON, and gRPC. What was sent as bytes becomes a list only when somebody asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.errors import InferenceError, InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["InferInput", "InferOutput", "InferRequest", "InferResponse", "RequestedOutput"]

Parameters = dict[str, Any]


class _Tensor:
    """A named tensor, held as a list, as an array or as the protocol's bytes."""

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        datatype: str,
        data: Any = None,
        parameters: Parameters | None = None,
    ) -> None:
        self.name = name
        self.shape = list(shape)
        self.datatype = datatype.upper()
        self.parameters = parameters
        self._data = data
        self._raw_data: bytes | None = None

    @property
    def data(self) -> Any:
        """The elements; of a tensor sent as bytes, a flat list of them."""
        if self._data is None and self._raw_data is not None:
            self._data = self.as_numpy().ravel().tolist()
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data, self._raw_data = data, None

    @property
    def raw(self) -> bytes | None:
        """The protocol's bytes, if it holds these."""
        return self._raw_data

    def set_raw(self, raw: bytes) -> None:
        """Holds a tensor as the protocol's bytes."""
        self._data, self._raw_data = None, raw

    def as_numpy(self) -> Array:
        """The tensor as an array of its shape; raises :class:`InvalidInput` if it is none."""
        if self._raw_data is not None:
            return tensors.array_of_bytes(self.name, self.datatype, self.shape, self._raw_data)
        return tensors.array_of_json(self.name, self.datatype, self.shape, self._data)

    def as_string(self) -> list[str]:
        """The elements of a tensor of BYTES, as text."""
        if self.datatype != "BYTES":
            raise InvalidInput(f'"{self.name}" is of datatype {self.datatype}, not BYTES')
        return [e.decode() if isinstance(e, bytes) else e for e in self.as_numpy().ravel()]

    def set_data_from_numpy(self, input_tensor: Array, binary_data: bool = True) -> None:
        """Takes an array of the tensor's own datatype and shape."""
        if not isinstance(input_tensor, np.ndarray):
            raise InferenceError(f'"{self.name}" takes a numpy array')
        datatype, shape = tensors.datatype_of(input_tensor), list(input_tensor.shape)
        if (datatype, shape) != (self.datatype, self.shape):
            raise InferenceError(
                f'"{self.name}" is {self.datatype} of shape {self.shape}, '
                f"but the array is {datatype} of shape {shape}"
            )
        self.parameters = {**(self.parameters or {})}
        self.parameters.pop("binary_data_size", None)
        if binary_data:
            self.set_raw(tensors.bytes_of_array(input_tensor))
            self.parameters["binary_data_size"] = len(self._raw_data or b"")
        else:
            self.data = tensors.json_of_array(input_tensor)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "shape": self.shape,
            "datatype": self.datatype,
            "data": tensors.to_json(self.data),
            "parameters": self.parameters,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        mine = (self.name, self.shape, self.datatype, self.parameters or {})
        theirs = (other.name, other.shape, other.datatype, other.parameters or {})
        return mine == theirs and np.array_equal(self.as_numpy(), other.as_numpy())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_dict()})"


class InferInput(_Tensor):
    """A tensor the model is given."""


class InferOutput(_Tensor):
    """A tensor the model gives."""

    @classmethod
    def of(cls, name: str, array: Array) -> InferOutput:
        """An array as an output of its own datatype and shape."""
        return cls(name, array.shape, tensors.datatype_of(array), array)


class RequestedOutput:
    """An output that was asked for by name."""

    def __init__(self, name: str, parameters: Parameters | None = None) -> None:
        if parameters and parameters.get("classification"):
            raise InvalidInput(
                f'"{name}": classification (class_count) is not made here; ask for the tensor'
            )
        self.name = name
        self.parameters = parameters

    @property
    def binary_data(self) -> bool | None:
        """Whether it is wanted as bytes; none if that was not said."""
        found = (self.parameters or {}).get("binary_data")
        return None if found is None else bool(found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RequestedOutput):
            return NotImplemented
        return (self.name, self.parameters) == (other.name, other.parameters)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RequestedOutput(name={self.name!r}, parameters={self.parameters})"


class InferRequest:
    """A request for an inference."""

    def __init__(
        self,
        model_name: str,
        infer_inputs: list[InferInput],
        request_id: str | None = None,
        raw_inputs: Sequence[bytes] | None = None,
        from_grpc: bool = False,
        parameters: Parameters | None = None,
        request_outputs: list[RequestedOutput] | None = None,
        model_version: str | None = None,
    ) -> None:
        self.id = request_id
        self.model_name = model_name
        self.inputs = infer_inputs
        self.parameters = parameters
        self.from_grpc = from_grpc
        self.request_outputs = request_outputs
        self.model_version = model_version
        self._raw = bool(raw_inputs)
        for tensor, raw in zip(infer_inputs, raw_inputs or (), strict=bool(raw_inputs)):
            tensor.set_raw(raw)

    @property
    def use_binary_outputs(self) -> bool:
        """Whether outputs are wanted as bytes where nothing else is said of them."""
        if self.from_grpc:
            return self._raw
        return bool((self.parameters or {}).get("binary_data_output", False))

    @classmethod
    def from_bytes(cls, req_bytes: bytes, json_length: int, model_name: str) -> InferRequest:
        """A request as REST sends it, with the bytes of tensors after the JSON."""
        from kubeling.serving.server.rest_v2 import decode_request

        return decode_request(req_bytes, json_length, model_name)

    def get_input_by_name(self, name: str) -> InferInput | None:
        """The input of a name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def as_dataframe(self) -> Any:
        """A pandas table with a column for each input."""
        from kubeling.serving.server.formats import library

        columns = {
            tensor.name: tensor.as_string() if tensor.datatype == "BYTES" else array.ravel()
            for tensor in self.inputs
            for array in [tensor.as_numpy()]
        }
        return library("pandas").DataFrame(columns)

    def to_rest(self) -> tuple[bytes | dict[str, Any], int | None]:
        """The body to send over REST, and the length of its JSON if bytes follow."""
        from kubeling.serving.server.rest_v2 import encode_tensors

        outputs = [
            {"name": o.name, **({"parameters": o.parameters} if o.parameters else {})}
            for o in self.request_outputs or ()
        ]
        head: dict[str, Any] = {"id": self.id or str(uuid.uuid4()), "model_name": self.model_name}
        if self.parameters:
            head["parameters"] = self.parameters
        if outputs:
            head["outputs"] = outputs
        wanted = [(tensor, tensor.raw is not None) for tensor in self.inputs]
        return encode_tensors(head, "inputs", wanted)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "id": self.id,
            "model_name": self.model_name,
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InferRequest):
            return NotImplemented
        return _same(self, other, "id model_name parameters from_grpc request_outputs inputs")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"InferRequest({self.to_dict()})"


class InferResponse:
    """The answer to a request for an inference."""

    def __init__(
        self,
        response_id: str | None,
        model_name: str,
        infer_outputs: list[InferOutput],
        model_version: str | None = None,
        raw_outputs: Sequence[bytes] | None = None,
        from_grpc: bool = False,
        parameters: Parameters | None = None,
        use_binary_outputs: bool = False,
        requested_outputs: list[RequestedOutput] | None = None,
    ) -> None:
        self.id = response_id
        self.model_name = model_name
        self.model_version = model_version
        self.outputs = infer_outputs
        self.parameters = parameters
        self.from_grpc = from_grpc
        self.use_binary_outputs = use_binary_outputs
        self.requested_outputs = requested_outputs
        for tensor, raw in zip(infer_outputs, raw_outputs or (), strict=bool(raw_outputs)):
            tensor.set_raw(raw)

    @classmethod
    def from_rest(cls, response: Mapping[str, Any]) -> InferResponse:
        """An answer that came as JSON."""
        return cls.from_bytes(msgspec.json.encode(response), None)

    @classmethod
    def from_bytes(cls, res_bytes: bytes, json_length: int | None) -> InferResponse:
        """An answer as REST sends it, with the bytes of tensors after the JSON."""
        from kubeling.serving.server.rest_v2 import decode_response

        return decode_response(res_bytes, json_length)

    def get_output_by_name(self, name: str) -> InferOutput | None:
        """The output of a name."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)

    def chosen(self) -> list[tuple[InferOutput, bool]]:
        """The outputs that were asked for, each with whether it is wanted as bytes."""
        if not self.requested_outputs:
            return [(tensor, self.use_binary_outputs) for tensor in self.outputs]
        found = []
        for asked in self.requested_outputs:
            tensor = self.get_output_by_name(asked.name)
            if tensor is None:
                known = ", ".join(tensor.name for tensor in self.outputs)
                raise InvalidInput(
                    f'the model "{self.model_name}" has no output "{asked.name}"; it has: {known}'
                )
            binary = asked.binary_data
            found.append((tensor, self.use_binary_outputs if binary is None else binary))
        return found

    def to_rest(self) -> tuple[bytes | dict[str, Any], int | None]:
        """The body to send over REST, and the length of its JSON if bytes follow."""
        from kubeling.serving.server.rest_v2 import encode_tensors

        head: dict[str, Any] = {"model_name": self.model_name}
        if self.model_version:
            head["model_version"] = self.model_version
        if self.id:
            head["id"] = self.id
        if self.parameters:
            head["parameters"] = self.parameters
        return encode_tensors(head, "outputs", self.chosen())

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "id": self.id,
            "model_name": self.model_name,
            "model_version": self.model_version,
            "outputs": [tensor.to_dict() for tensor in self.outputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InferResponse):
            return NotImplemented
        return _same(self, other, "id model_name model_version parameters from_grpc outputs")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"InferResponse({self.to_dict()})"


def _same(one: object, other: object, names: str) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names.split())
