"""Efficient neural architecture search: ``enas``.

Upstream's controller is an LSTM in TensorFlow. This one keeps the policy itself: for every layer a
preference for each operation, for every pair of layers one for the skip connection, all trained by
REINFORCE with the same settings (temperature, tanh constant, entropy weight, baseline, skip target
and weight). A few dozen trials cannot teach an LSTM what it would share between layers, and
``controller_hidden_size`` has nothing to size here.

The policy is trained anew from the history for every point: one step for each trial, as long as
``controller_train_steps`` of them would be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from kubeling.tuning.algorithms.architectures import operations, quoted
from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search, numbers
from kubeling.tuning.algorithms.cube import Matrix, Vector
from kubeling.tuning.algorithms.evidence import generator

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

Architecture = list[list[int]]


class EnasSearch:
    """A policy over architectures, rewarded by what trials measure."""

    def __init__(self, search: Search) -> None:
        self._search = search
        settings = {**ENAS_DEFAULTS, **search.settings}
        graph = search.nas.get("graphConfig") or {}
        self._layers = int(graph.get("numLayers") or 1)
        self._graph = graph
        self._operations = operations(search.nas)
        self._temperature = _number(settings["controller_temperature"], 1.0)
        self._tanh = _number(settings["controller_tanh_const"], 0.0)
        self._entropy = _number(settings["controller_entropy_weight"], 0.0)
        self._decay = float(settings["controller_baseline_decay"])
        steps = int(settings["controller_train_steps"]) / _REFERENCE_STEPS
        self._rate = float(settings["controller_learning_rate"]) / _REFERENCE_RATE * steps * _STEP
        self._target = float(settings["controller_skip_target"])
        self._skip_weight = _number(settings["controller_skip_weight"], 0.0)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """An architecture drawn from the policy."""
        choices, skips = self._trained(history)
        random = generator(self._search.seed, len(history))
        architecture: Architecture = []
        for layer in range(self._layers):
            operation = int(random.choice(len(self._operations), p=self._shares(choices[layer])))
            linked = random.random(layer) < self._linked(skips[layer, :layer])
            architecture.append([operation, *(int(link) for link in linked)])
        used = {row[0] for row in architecture}
        config: dict[str, Any] = {
            "num_layers": self._layers,
            "input_sizes": list(self._graph.get("inputSizes") or ()),
            "output_sizes": list(self._graph.get("outputSizes") or ()),
            "embedding": {str(o): self._operations[o].as_json() for o in sorted(used)},
        }
        return Proposal({"architecture": quoted(architecture), "nn_config": quoted(config)})

    def _trained(self, history: Sequence[PastTrial]) -> tuple[Matrix, Matrix]:
        choices = np.zeros((self._layers, len(self._operations)))
        skips = np.zeros((self._layers, self._layers))
        ended = [
            (_parsed(past.assignments.get("architecture", "")), -found[0])
            for past in history
            if (found := numbers(self._search, past)) is not None
        ]
        if not ended:
            return choices, skips
        rewards = np.array([reward for _, reward in ended])
        # Rewards of any scale: a baseline of their running mean, in units of their spread.
        spread = float(rewards.std()) or 1.0
        share = max(1 - self._decay, 1 / len(rewards))
        baseline = float(rewards[0])
        for architecture, reward in ended:
            baseline += share * (reward - baseline)
            advantage = (reward - baseline) / spread
            self._step(choices, skips, architecture, advantage)
        return choices, skips

    def _step(
        self, choices: Matrix, skips: Matrix, architecture: Architecture, advantage: float
    ) -> None:
        for layer, (operation, *links) in enumerate(architecture[: self._layers]):
            shares = self._shares(choices[layer])
            chosen = np.zeros(len(shares))
            chosen[min(operation, len(shares) - 1)] = 1.0
            surprise = -np.log(shares)
            spread = shares * (surprise - float(shares @ surprise))
            choices[layer] += self._rate * (advantage * (chosen - shares) + self._entropy * spread)
            if layer:
                linked = self._linked(skips[layer, :layer])
                pull = advantage * (np.array(links[:layer]) - linked)
                pull += self._skip_weight * (self._target - linked)
                skips[layer, :layer] += self._rate * pull

    def _shares(self, preferences: Vector) -> Vector:
        logits = self._bounded(preferences)
        weights = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())

    def _linked(self, preferences: Vector) -> Vector:
        return np.asarray(1 / (1 + np.exp(-self._bounded(preferences))))

    def _bounded(self, preferences: Vector) -> Vector:
        if not self._tanh:
            return preferences
        # The constant bounds how sure the policy may become; the temperature how soon.
        return np.asarray(self._tanh * np.tanh(preferences / self._temperature * 5.0))


def _parsed(text: str) -> Architecture:
    found: Architecture = json.loads(text.replace("'", '"') or "[]")
    return found


def _number(text: str, none: float) -> float:
    return none if text == "None" else float(text)
