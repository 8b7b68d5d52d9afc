"""Converts a model and proves it: ``python -m …conversion FORMAT DIRECTORY OUT``.

Writes the twin to OUT and what was found out as one line of JSON to its output.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kubeling.serving.server.conversion.converters import known_values, to_onnx
from kubeling.serving.server.conversion.cutting import smaller
from kubeling.serving.server.conversion.probes import probe_rows, sample_rows
from kubeling.serving.server.conversion.proof import Found, equal, fitting
from kubeling.serving.server.conversion.twin import open_session
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.tabular import TabularModel, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["main"]

_BATCHES: Final = (1, 32)
_TIMES: Final = 5


def main() -> int:
    """Always ends with what it found."""
    _step_back()
    warnings.simplefilter("ignore")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        found = _convert(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    out.write(msgspec.json.encode(found).decode() + "\n")
    return 0


def _step_back() -> None:
    """The server goes first: for the processor, and in staying alive when memory runs out."""
    os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _convert(format_name: str, directory: Path, out: Path) -> Found:
    model = create_model(format_name, "model", directory)
    assert isinstance(model, TabularModel)
    model.load()
    width = model.width
    if width is None or model.original is None:
        return Found(reason="the model does not take rows of a known number of numbers")
    try:
        rows = _rows(format_name, model, directory, width)
        wanted = _wanted(model, rows)
        raw = to_onnx(format_name, model.original, width)
    except Exception as error:
        # The converters raise all kinds, and any of them means only that there is no twin.
        return Found(reason=f"{type(error).__name__}: {first_line(error)}")
    session = open_session(raw)
    outputs = _outputs(session, rows)
    for what, array in wanted.items():
        if fitting(outputs, array) is None:
            return Found(reason=f"the {what} in ONNX differ on {len(rows)} rows")
    answer = fitting(outputs, wanted["answers"])
    assert answer is not None
    for least in smaller(raw, answer.output):
        twin = open_session(least)
        if equal(answer.of(_outputs(twin, rows)[answer.output]), wanted["answers"]):
            break
    else:
        return Found(reason=f"the answers in ONNX differ on {len(rows)} rows")
    if not _quicker(model.predict_rows, lambda some: _outputs(twin, some), rows):
        return Found(reason="the model is no quicker in ONNX")
    out.write_bytes(least)
    return Found(answer, len(rows))


def _rows(format_name: str, model: TabularModel, directory: Path, width: int) -> Array:
    made = probe_rows(width, known_values(format_name, model.original))
    samples = sample_rows(directory, width)
    return made if samples is None else np.concatenate([samples, made])


def _wanted(model: TabularModel, rows: Array) -> dict[str, Array]:
    """What the model answers, and its probabilities if it knows some."""
    found = {"answers": np.asarray(model.predict_rows(rows))}
    if (probabilities := getattr(model.original, "predict_proba", None)) is not None:
        found["probabilities"] = np.asarray(probabilities(rows))
    return found


def _outputs(session: Any, rows: Array) -> dict[str, Array]:
    name = session.get_inputs()[0].name
    found = session.run(None, {name: rows.astype(np.float32)})
    outputs = zip(session.get_outputs(), found, strict=True)
    return {output.name: np.asarray(array) for output, array in outputs}


def _quicker(before: Callable[[Array], Any], after: Callable[[Array], Any], rows: Array) -> bool:
    return all(_fastest(after, rows[:n]) < _fastest(before, rows[:n]) for n in _BATCHES)


def _fastest(predict: Callable[[Array], Any], rows: Array) -> float:
    times = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        predict(rows)
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
