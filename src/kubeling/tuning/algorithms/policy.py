"""What ``enas`` believes: which operation suits each layer, and which earlier layers to link to it.

Preferences start at 0 and are moved by REINFORCE, one step for each architecture with its reward.
A policy depends on the rewards it has seen and their order only, so that one can be copied, kept
and taught the rest later.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kubeling.tuning.algorithms.cube import Matrix

__all__ = ["Architecture", "Policy", "Traits"]

Architecture = Sequence[Sequence[int]]
"""For each layer its operation, and for every layer before it whether there is a link."""

_MOST_SURPRISING: Final = 3.0
"""In deviations: one training run that diverged must not decide everything."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How a policy learns; ``tanh`` of 0 sets no bound to how sure it may become."""

    rate: float
    temperature: float
    tanh: float
    entropy: float
    decay: float
    skip_target: float
    skip_weight: float


class Policy:
    """Preferences, and the rewards so far."""

    def __init__(self, layers: int, operations: int, traits: Traits) -> None:
        self._traits = traits
        self._choices = np.zeros((layers, operations))
        self._skips = np.zeros((layers, layers))
        self._earlier = np.tri(layers, layers, -1)
        self._count, self._mean, self._squares, self._baseline = 0, 0.0, 0.0, 0.0

    def copied(self) -> Policy:
        """A policy that learns on its own from here."""
        return copy.deepcopy(self)

    @property
    def shares(self) -> Matrix:
        """How likely each layer does each operation."""
        logits = self._bounded(self._choices)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    @property
    def linked(self) -> Matrix:
        """How likely each layer is linked to each other; those before it count."""
        return np.asarray(1 / (1 + np.exp(-self._bounded(self._skips))))

    def learn(self, architecture: Architecture, reward: float) -> None:
        """Moves the preferences by what an architecture was worth."""
        traits, advantage = self._traits, self._advantage(reward)
        shares, linked = self.shares, self.linked
        chosen, links = np.zeros_like(shares), np.zeros_like(linked)
        for layer, (operation, *skips) in enumerate(architecture[: len(shares)]):
            chosen[layer, min(operation, shares.shape[1] - 1)] = 1.0
            links[layer, :layer] = skips[:layer]
        surprise = -np.log(np.maximum(shares, np.finfo(float).tiny))
        spread = shares * (surprise - (shares * surprise).sum(axis=1, keepdims=True))
        self._choices += traits.rate * (advantage * (chosen - shares) + traits.entropy * spread)
        pull = advantage * (links - linked) + traits.skip_weight * (traits.skip_target - linked)
        self._skips += traits.rate * self._earlier * pull

    def _advantage(self, reward: float) -> float:
        """Rewards of any scale: over a running mean, in units of their spread so far."""
        self._count += 1
        off = reward - self._mean
        self._mean += off / self._count
        self._squares += off * (reward - self._mean)
        share = max(1 - self._traits.decay, 1 / self._count)
        self._baseline += share * (reward - self._baseline)
        spread = (self._squares / self._count) ** 0.5 or 1.0
        return min(max((reward - self._baseline) / spread, -_MOST_SURPRISING), _MOST_SURPRISING)

    def _bounded(self, preferences: Matrix) -> Matrix:
        if not self._traits.tanh:
            return preferences
        # The constant bounds how sure the policy may become; the temperature how soon.
        return np.asarray(self._traits.tanh * np.tanh(preferences / self._traits.temperature * 5.0))
