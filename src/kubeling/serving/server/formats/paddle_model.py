"""Paddle models as ``paddle.jit.save`` makes them (kserve's python/paddleserver)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.formats.named_tensors import NamedTensorsModel, Spec
from kubeling.serving.server.model import Model
from kubeling.serving.server.tabular import first_line, single_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create"]

_SAID: Final = re.compile(r"^\w*Error: ")


def create(name: str, directory: Path) -> Model:
    """The model of a folder."""
    return PaddleModel(name, directory)


class PaddleModel(NamedTensorsModel):
    """A program (``.pdmodel``, or ``.json`` of Paddle 3) and its parameters (``.pdiparams``).

    Upstream takes the first input and the first output; here all of them have their names. A model
    of one input takes any name.
    """

    platform = "paddle"

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory

    def load(self) -> bool:
        inference = library("paddle").inference
        program = self._program()
        parameters = single_file(self.directory, (".pdiparams",), "paddle")
        config = inference.Config(str(program), str(parameters))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads())
        try:
            self._predictor = inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelLoadError(f"{program.name}: {_reason(error)}") from error
        predictor = self._predictor
        self.inputs = {n: _spec(predictor.get_input_handle(n)) for n in predictor.get_input_names()}
        self.outputs = {
            n: _spec(predictor.get_output_handle(n)) for n in predictor.get_output_names()
        }
        return True

    def compute(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, array in given.items():
            self._predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
        try:
            self._predictor.run()
        except (RuntimeError, ValueError) as error:
            raise ValueError(_reason(error)) from error
        return {
            name: np.asarray(self._predictor.get_output_handle(name).copy_to_cpu())
            for name in self._predictor.get_output_names()
        }

    def _program(self) -> Path:
        if any(self.directory.rglob("*.pdmodel")):
            return single_file(self.directory, (".pdmodel",), "paddle")
        return single_file(self.directory, (".pdmodel", ".json"), "paddle")


def _reason(error: Exception) -> str:
    """The line that says what is wrong, between the traces of Python and C++ around it."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if _SAID.match(line)), first_line(error))


def _spec(handle: Any) -> Spec:
    """Of a tensor, which has a type (``PaddleDType.FLOAT32``) but no shape before it has data."""
    return Spec(None, np.dtype(str(handle.type()).rpartition(".")[2].lower()))
