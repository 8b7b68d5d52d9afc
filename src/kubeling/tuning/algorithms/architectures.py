"""Neural architecture search: the space of ``nasConfig``, and ``darts``, which only hands it on.

Source: ``pkg/suggestion/v1beta1/nas`` of Katib. Values are JSON with single quotes, as upstream's.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search
from kubeling.tuning.space import Categories, dimension

__all__ = ["DARTS_DEFAULTS", "DartsSearch", "Operation", "operations", "quoted"]

DARTS_DEFAULTS: Final[Mapping[str, float]] = {
    "num_epochs": 50,
    "w_lr": 0.025,
    "w_lr_min": 0.001,
    "w_momentum": 0.9,
    "w_weight_decay": 3e-4,
    "w_grad_clip": 5.0,
    "alpha_lr": 3e-4,
    "alpha_weight_decay": 1e-3,
    "batch_size": 128,
    "num_workers": 4,
    "init_channels": 16,
    "print_step": 50,
    "num_nodes": 4,
    "stem_multiplier": 3,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a layer can do: an operation with one value for each of its parameters."""

    number: int
    kind: str
    parameters: tuple[tuple[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "opt_id": self.number,
            "opt_type": self.kind,
            "opt_params": dict(self.parameters),
        }


def operations(nas: Mapping[str, Any]) -> list[Operation]:
    """All combinations of operations and their parameters' values, in the order stated."""
    found: list[Operation] = []
    for operation in nas.get("operations") or ():
        parameters = operation.get("parameters") or ()
        names = [parameter["name"] for parameter in parameters]
        for values in itertools.product(*(_values(parameter) for parameter in parameters)):
            chosen = tuple(zip(names, values, strict=True))
            found.append(Operation(len(found), operation["operationType"], chosen))
    return found


def quoted(value: Any) -> str:
    """A value as trials are given it."""
    return json.dumps(value).replace('"', "'")


class DartsSearch:
    """One trial finds the architecture by itself; it is told the space and the settings."""

    def __init__(self, search: Search) -> None:
        nas = search.nas
        settings: dict[str, Any] = dict(DARTS_DEFAULTS)
        for name, value in search.settings.items():
            settings[name] = None if value == "None" else value
        self._assignments = {
            "algorithm-settings": quoted(settings),
            "search-space": quoted(_primitives(nas)),
            "num-layers": str((nas.get("graphConfig") or {}).get("numLayers")),
        }

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The same every time."""
        return Proposal(dict(self._assignments))


def _primitives(nas: Mapping[str, Any]) -> list[str]:
    found = []
    for operation in nas.get("operations") or ():
        kind = operation["operationType"]
        if kind == "skip_connection":
            found.append(kind)
            continue
        sizes = operation["parameters"][0]["feasibleSpace"].get("list") or ()
        found += [f"{kind}_{size}x{size}" for size in sizes]
    return found


def _values(parameter: Obj) -> list[Any]:
    found = dimension(parameter)
    texts = [found.nth(step) for step in range(found.count or 0)]
    if isinstance(found, Categories):
        return texts
    return [int(text) if found.integer else float(text) for text in texts]
