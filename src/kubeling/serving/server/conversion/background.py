"""Makes a model's twin while the model already answers."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.serving.server.conversion.proof import ABSOLUTE, RELATIVE, Found
from kubeling.serving.server.conversion.twin import Twin, open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["Conversion"]

log = logging.getLogger(__name__)

_SECONDS: Final = 300
_LARGEST: Final = 100 * 2**20
_NEEDED: Final = {
    "sklearn": ("onnxruntime", "skl2onnx"),
    "xgboost": ("onnxruntime", "onnxmltools"),
    "lightgbm": ("onnxruntime", "onnxmltools"),
}


class Conversion:
    """The twin of a model once there is one, and the word on how far it is."""

    def __init__(
        self, format_name: str, directory: Path, original: Callable[[Array], Array]
    ) -> None:
        self.twin: Twin | None = None
        self._said = "not tried"
        self._format = format_name
        self._directory = directory
        self._original = original
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def state(self) -> str:
        """For people: whether ONNX answers, and if not, why."""
        if self.twin is not None and self.twin.given_up:
            return "no: a request was answered otherwise in ONNX than by the model"
        return self._said

    def start(self, file: Path) -> None:
        """Begins, in a process of its own; returns at once."""
        missing = [n for n in _NEEDED[self._format] if importlib.util.find_spec(n) is None]
        if missing:
            self._said = (
                f"no: the Python package {missing[0]} is not installed; kubeling[onnx] has it"
            )
        elif file.stat().st_size > _LARGEST:
            self._said = f"no: {file.name} is larger than {_LARGEST // 2**20} MiB"
        else:
            self._said = "being made"
            threading.Thread(target=self._make, name="conversion", daemon=True).start()

    def stop(self) -> None:
        """Ends the process, if it still runs."""
        self._stopped = True
        if self._child is not None:
            self._child.kill()

    def _make(self) -> None:
        try:
            with TemporaryDirectory(prefix="onnx-") as folder:
                self._said = self._made(Path(folder) / "model.onnx")
        except subprocess.TimeoutExpired:
            self._said = f"no: not done after {_SECONDS} s"
        except Exception as error:
            # The model answers all the same; what stands in the way of its twin is said.
            self._said = f"no: {type(error).__name__}: {error}"
        if not self._stopped:
            log.info("ONNX: %s", self._said)

    def _made(self, out: Path) -> str:
        module = "kubeling.serving.server.conversion"
        command = [sys.executable, "-m", module, self._format, str(self._directory), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            self._child = child
            if self._stopped:
                child.kill()
            try:
                text, _ = child.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        if child.returncode:
            return f"no: the converting process ended with {child.returncode}"
        report = msgspec.json.decode(text, type=Found)
        if report.answer is None:
            return f"no: {report.reason}"
        self.twin = Twin(open_session(out.read_bytes()), report.answer, self._original)
        return (
            f"yes: equal on {report.rows} rows, labels exactly and numbers within "
            f"{ABSOLUTE:g} + {RELATIVE:g} of their size"
        )
