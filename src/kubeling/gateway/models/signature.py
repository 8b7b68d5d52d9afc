"""What a model takes, by its Open Inference Protocol metadata, and requests made from it.

The pages' form and the command line show people a request that the model will accept; only the
model itself knows which. A model of rows with one input is asked by V1, whose rows people know; all
others by V2, which names its tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.gateway.models.skew import Skew, skew_in

__all__ = ["Picture", "Signature", "Tensor", "path_of", "signature_of"]

_TEXT: Final = "BYTES"
_TRUTH: Final = "BOOL"
_WIDEST: Final = 64
"""Values of a row that a person may be asked for one by one."""
_WIDEST_UNNAMED: Final = 16
_CHANNELS: Final = (1, 3)
_MOST_SHOWN: Final = 4096
"""Values of a request that is shown as an example."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input; sizes of -1 are the sender's choice."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    example: str = ""
    """A text that it takes."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape with one element wherever the sender may choose."""
        return tuple(max(size, 1) for size in self.shape) or (1,)

    @property
    def row(self) -> int | None:
        """How many values a row has; ``None`` for what has no rows of a known width."""
        if len(self.shape) == 1:
            return 1
        return self.shape[1] if len(self.shape) == 2 and self.shape[1] > 0 else None

    @property
    def zero(self) -> Any:
        """A value of its type."""
        if self.datatype == _TEXT:
            return self.example or "text"
        if self.datatype == _TRUTH:
            return False
        return 0.0 if self.datatype.startswith(("FP", "BF")) else 0

    def parse(self, title: str, text: str) -> Any:
        """A value of its type from a word."""
        if self.datatype == _TEXT:
            return text
        word = text.strip()
        if self.datatype == _TRUTH:
            if word.lower() not in ("true", "false"):
                raise ValueError(f"{title}: {text!r} is neither true nor false")
            return word.lower() == "true"
        try:
            if not self.datatype.startswith(("FP", "BF")):
                return int(word)
            if math.isfinite(value := float(word)):
                return value
            raise ValueError(word)  # JSON has no such numbers
        except ValueError:
            kind = "number" if self.datatype.startswith(("FP", "BF")) else "whole number"
            raise ValueError(f"{title}: {text!r} is no {kind}") from None

    def zeros(self) -> Any:
        """Nested lists of that value."""
        filled: Any = self.zero
        for size in reversed(self.sizes):
            filled = [filled] * size
        return filled


@dataclass(frozen=True, slots=True)
class Picture:
    """An input that pictures fit in: its size, and where its colours are."""

    tensor: Tensor
    width: int
    height: int
    channels: int
    channels_first: bool

    @property
    def settings(self) -> str:
        """For the page's script."""
        return json.dumps(
            {
                "name": self.tensor.name,
                "datatype": self.tensor.datatype,
                "shape": self.tensor.sizes,
                "width": self.width,
                "height": self.height,
                "channels": self.channels,
                "first": self.channels_first,
            }
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes, and the names of its features where it has any."""

    inputs: tuple[Tensor, ...]
    features: tuple[str, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)
    """Of features that hold text among others that do not, a text for each."""
    skew: Skew | None = None
    """Whether another version saved it, which may have computed otherwise."""

    @property
    def is_rows(self) -> bool:
        """Whether one list of values is a request."""
        return len(self.inputs) == 1 and self.inputs[0].row is not None

    @property
    def is_large(self) -> bool:
        """Whether a request has more values than anybody wants to see, or to paste."""
        return sum(math.prod(tensor.sizes) for tensor in self.inputs) > _MOST_SHOWN

    @property
    def fields(self) -> tuple[tuple[str, Tensor], ...]:
        """The values of one row that can be asked for one by one: each with its title."""
        if self.is_rows:
            only = self.inputs[0]
            width = only.row or 0
            titles = self.features if len(self.features) == width else ()
            if width > (_WIDEST if titles else _WIDEST_UNNAMED):
                return ()
            if width == 1 and not titles:
                return ((only.name, only),)
            return tuple((title, self._of(title)) for title in titles or _numbers(width))
        if self.inputs and all(tensor.row == 1 for tensor in self.inputs):
            return tuple((tensor.name, tensor) for tensor in self.inputs[:_WIDEST])
        return ()

    def _of(self, feature: str) -> Tensor:
        """One value of a row."""
        only = self.inputs[0]
        example = self.examples.get(feature)
        return only if example is None else Tensor(feature, _TEXT, only.shape, example)

    @property
    def wide_row(self) -> int:
        """How many values a row has that is better pasted than filled in; 0 if it is not so."""
        return (self.inputs[0].row or 0) if self.is_rows and not self.fields else 0

    @property
    def picture(self) -> Picture | None:
        """How a picture becomes the input, if that looks like one."""
        if len(self.inputs) != 1 or self.inputs[0].datatype in (_TEXT, _TRUTH):
            return None
        sizes = self.inputs[0].shape[-3:]
        if len(self.inputs[0].shape) not in (3, 4):
            return None
        first, middle, last = sizes
        if first in _CHANNELS and min(middle, last) > max(_CHANNELS):
            return Picture(self.inputs[0], last, middle, first, channels_first=True)
        if last in _CHANNELS and min(first, middle) > max(_CHANNELS):
            return Picture(self.inputs[0], middle, first, last, channels_first=False)
        return None

    def path(self, model: str) -> str:
        """Where the model takes :meth:`sample`, below the service's address."""
        if self.is_rows:
            return f"/v1/models/{model}:predict"
        return f"/v2/models/{model}/infer"

    def sample(self) -> dict[str, Any]:
        """A request of one row that has the right shape."""
        if self.is_rows:
            if self.examples and len(self.features) == self.inputs[0].row:
                return {"instances": [[self._of(title).zero for title in self.features]]}
            return {"instances": self.inputs[0].zeros()}
        return {"inputs": [_filled(tensor) for tensor in self.inputs]}

    def request(self, values: Sequence[str]) -> dict[str, Any]:
        """A request of one row from words, one for each of :attr:`fields`.

        Raises :class:`ValueError` that names the field whose word does not fit its type.
        """
        row = [
            tensor.parse(title, text)
            for (title, tensor), text in zip(self.fields, values, strict=True)
        ]
        if self.is_rows:
            flat = len(self.inputs[0].shape) == 1
            return {"instances": row if flat else [row]}
        tensors = [
            {**_filled(t), "data": [value]} for t, value in zip(self.inputs, row, strict=True)
        ]
        return {"inputs": tensors}

    def row_request(self, text: str) -> dict[str, Any]:
        """A request of one row from its values in a line, apart by commas or spaces."""
        only = self.inputs[0]
        words = text.split(",") if only.datatype == _TEXT else text.replace(",", " ").split()
        if len(words) != self.wide_row:
            wide = f"{len(words)} value{'' if len(words) == 1 else 's'}"
            raise ValueError(f"the row has {wide}, and the model takes {self.wide_row}")
        values = [only.parse(f"value {n}", word) for n, word in enumerate(words, 1)]
        return {"instances": [values]}

    def sample_text(self) -> str:
        """The same as text."""
        return json.dumps(self.sample())


def _filled(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.sizes),
        "data": tensor.zeros(),
    }


def path_of(model: str, body: Mapping[str, Any]) -> str:
    """Where a request goes, by its body: V2's tensors name their types, V1's inputs are rows."""
    inputs = body.get("inputs")
    of_v2 = isinstance(inputs, list) and all(
        isinstance(tensor, dict) and "datatype" in tensor for tensor in inputs
    )
    return f"/v2/models/{model}/infer" if of_v2 else f"/v1/models/{model}:predict"


def signature_of(metadata: Mapping[str, Any]) -> Signature | None:
    """The signature in a model's metadata; ``None`` if it does not say what it takes."""
    inputs = tuple(_tensors(metadata.get("inputs") or ()))
    if not inputs:
        return None
    said = metadata.get("parameters") or metadata.get("properties") or {}
    if not isinstance(said, Mapping):
        said = {}
    features = tuple(map(str, said.get("features") or ()))
    categories = said.get("categories")
    known = categories if isinstance(categories, Mapping) else {}
    examples = {str(k): str(v[0]) for k, v in known.items() if v}
    return Signature(inputs, features, examples, skew_in(said))


def _numbers(width: int) -> list[str]:
    return [str(number) for number in range(1, width + 1)]


def _tensors(entries: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    return [
        Tensor(
            str(entry.get("name", "")),
            str(entry.get("datatype", "FP32")),
            tuple(int(size) for size in entry.get("shape") or ()),
        )
        for entry in entries
    ]
