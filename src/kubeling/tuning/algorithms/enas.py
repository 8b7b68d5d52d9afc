"""Efficient neural architecture search: ``enas``.

Upstream's controller is an LSTM in TensorFlow that is fed the mean of the latest trials' results
as the reward of architectures it draws only then, so that what it learns has nothing to do with
what was measured (``pkg/suggestion/v1beta1/nas/enas/service.py``). This one keeps the policy: for
every layer a preference for each operation, for every pair of layers one for the skip connection,
and each architecture is rewarded with its own result, under the same settings (temperature, tanh
constant, entropy weight, baseline, skip target and weight). A few dozen trials cannot teach an
LSTM what it would share between layers, and ``controller_hidden_size`` has nothing to size here.

The policy is a function of the trials that have ended: one step for each, as long as
``controller_train_steps`` of them would be. What it was some trials ago is remembered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubeling.tuning.algorithms.architectures import operations, quoted
from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search, numbers
from kubeling.tuning.algorithms.evidence import generator
from kubeling.tuning.algorithms.policy import Architecture, Policy, Traits

__all__ = ["ENAS_DEFAULTS", "EnasSearch"]

ENAS_DEFAULTS: Final[Mapping[str, str]] = {
    "controller_hidden_size": "64",
    "controller_temperature": "5.0",
    "controller_tanh_const": "2.25",
    "controller_entropy_weight": "1e-5",
    "controller_baseline_decay": "0.999",
    "controller_learning_rate": "5e-5",
    "controller_skip_target": "0.4",
    "controller_skip_weight": "0.8",
    "controller_train_steps": "50",
    "controller_log_every_steps": "10",
}
_REFERENCE_RATE: Final = 5e-5
_REFERENCE_STEPS: Final = 50
_STEP: Final = 0.5
"""How far a trial moves the preferences, which start at 0, with the default rate and steps."""

_KEPT_EVERY: Final = 32
"""Trials taught between two policies that are remembered."""


class EnasSearch:
    """A policy over architectures, rewarded by what trials measure."""

    def __init__(self, search: Search) -> None:
        self._search = search
        settings = {**ENAS_DEFAULTS, **search.settings}
        graph = search.nas.get("graphConfig") or {}
        self._layers = int(graph.get("numLayers") or 1)
        self._graph = graph
        self._operations = operations(search.nas)
        steps = int(settings["controller_train_steps"]) / _REFERENCE_STEPS
        traits = Traits(
            rate=float(settings["controller_learning_rate"]) / _REFERENCE_RATE * steps * _STEP,
            temperature=_number(settings["controller_temperature"], 1.0),
            tanh=_number(settings["controller_tanh_const"], 0.0),
            entropy=_number(settings["controller_entropy_weight"], 0.0),
            decay=float(settings["controller_baseline_decay"]),
            skip_target=float(settings["controller_skip_target"]),
            skip_weight=_number(settings["controller_skip_weight"], 0.0),
        )
        self._kept = [Policy(self._layers, len(self._operations), traits)]
        self._taught: list[PastTrial] = []

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """An architecture drawn from the policy."""
        policy = self._policy(history)
        shares, linked = policy.shares, policy.linked
        random = generator(self._search.seed, len(history))
        architecture: list[list[int]] = []
        for layer in range(self._layers):
            operation = int(random.choice(len(self._operations), p=shares[layer]))
            links = random.random(layer) < linked[layer, :layer]
            architecture.append([operation, *(int(link) for link in links)])
        used = {row[0] for row in architecture}
        config: dict[str, Any] = {
            "num_layers": self._layers,
            "input_sizes": list(self._graph.get("inputSizes") or ()),
            "output_sizes": list(self._graph.get("outputSizes") or ()),
            "embedding": {str(o): self._operations[o].as_json() for o in sorted(used)},
        }
        return Proposal({"architecture": quoted(architecture), "nn_config": quoted(config)})

    def _policy(self, history: Sequence[PastTrial]) -> Policy:
        """What all trials that have ended teach, the first of them perhaps taught before."""
        ended = [
            (past, -found[0])
            for past in history
            if (found := numbers(self._search, past)) is not None and math.isfinite(found[0])
        ]
        alike = min(len(self._taught), len(ended))
        for place in range(alike):
            if not _same(self._taught[place], ended[place][0]):
                alike = place
                break
        del self._kept[alike // _KEPT_EVERY + 1 :]
        start = (len(self._kept) - 1) * _KEPT_EVERY
        policy = self._kept[-1].copied()
        for count, (past, reward) in enumerate(ended[start:], start + 1):
            policy.learn(_parsed(past.assignments.get("architecture", "")), reward)
            if count % _KEPT_EVERY == 0:
                self._kept.append(policy.copied())
        self._taught = [past for past, _ in ended]
        return policy


def _same(old: PastTrial, new: PastTrial) -> bool:
    return old is new or (old.assignments == new.assignments and old.value == new.value)


def _parsed(text: str) -> Architecture:
    found: Architecture = json.loads(text.replace("'", '"') or "[]")
    return found


def _number(text: str, none: float) -> float:
    return none if text == "None" else float(text)
