"""The network a trial of an architecture search stands for. Pure.

``enas`` gives a trial its network as two parameters: for each layer its operation and which
earlier layers it takes as well, and what the operations are. ``darts`` gives every trial the same
space, and the trial says at its end which cells it found. Both are read as Katib's own trial images
read and write them (``enas-cnn-cifar10/ModelConstructor.py``,
``darts-cnn-cifar10/search_space.py``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Layer", "Network", "networks_in", "networks_of"]

_MOST_LAYERS: Final = 200
_MOST_TEXT: Final = 100_000
_CELL: Final = re.compile(r"(normal|reduce)=(\[\[.*?\]\])(?=\s*[,)])")
_BEFORE: Final = ("the cell before the last", "the last cell")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and the numbers of those it takes in; ``lines`` say what it does."""

    title: str
    lines: tuple[str, ...] = ()
    takes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """Layers, each after all that it takes in."""

    title: str
    layers: tuple[Layer, ...]


def networks_of(parameters: Mapping[str, str]) -> list[Network]:
    """What ``enas`` gave a trial; nothing for other trials."""
    rows, config = (_value(parameters.get(key, "")) for key in ("architecture", "nn_config"))
    if not isinstance(rows, list) or not isinstance(config, dict):
        return []
    try:
        return [Network("Network", tuple(_layers(rows[:_MOST_LAYERS], config)))]
    except (AttributeError, IndexError, TypeError, ValueError):
        return []  # Of an algorithm of one's own that uses the names for something else.


def networks_in(lines: Iterable[str]) -> list[Network]:
    """The cells of the last ``Genotype(normal=…, reduce=…)`` that a trial printed."""
    found: list[Network] = []
    for line in lines:
        if "Genotype(" in line:
            cells = _CELL.findall(line[:_MOST_TEXT])
            found = [n for kind, text in cells if (n := _cell(kind, _value(text))) is not None]
    return found


def _layers(rows: Sequence[Any], config: Mapping[str, Any]) -> Iterable[Layer]:
    yield Layer("input", _sizes(config.get("input_sizes")))
    for place, (operation, *flags) in enumerate(rows, 1):
        embedding = (config.get("embedding") or {}).get(str(operation)) or {}
        # The layer before is always taken; the flags are of those before it.
        skipped = [i for i, flag in enumerate(flags[: place - 1]) if flag]
        kind = str(embedding.get("opt_type") or f"operation {operation}").replace("_", " ")
        said = _settings(embedding.get("opt_params") or {})
        yield Layer(f"{place}  {kind}", said, (*skipped, place - 1))
    yield Layer("output", _sizes(config.get("output_sizes")), (len(rows),))


def _sizes(sizes: Any) -> tuple[str, ...]:
    return (" by ".join(str(size) for size in sizes),) if sizes else ()


def _settings(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    words = [f"{str(key).replace('_', ' ')} {value}" for key, value in parameters.items()]
    return (", ".join(words),) if words else ()


def _cell(kind: str, nodes: Any) -> Network | None:
    """A cell: its nodes take the two cells before it and each other, and the cell all of them."""
    layers = [Layer(title) for title in _BEFORE]
    try:
        for place, edges in enumerate(nodes[:_MOST_LAYERS]):
            pairs = [
                (str(operation).replace("_", " "), range(len(layers))[source])
                for operation, source in edges
            ]
            said = tuple(f"{operation} of {layers[source].title}" for operation, source in pairs)
            takes = tuple(dict.fromkeys(source for _, source in pairs))
            layers.append(Layer(f"node {place}", said, takes))
    except (IndexError, TypeError, ValueError):
        return None
    own = tuple(range(len(_BEFORE), len(layers)))
    title = "Normal cell" if kind == "normal" else "Reduction cell"
    return Network(title, (*layers, Layer("this cell", ("all nodes side by side",), own)))


def _value(text: str) -> Any:
    """A literal: JSON with single quotes, as Katib hands it on."""
    try:
        return ast.literal_eval(text[:_MOST_TEXT].strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
