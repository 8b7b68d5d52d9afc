"""A small network on scikit-learn's digits, trained batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

__all__ = ["Digits"]

_CLASSES: Final = np.arange(10)
_GREYS: Final = 16.0


class Digits:
    """The data and a network that learns them; made anew, it has learnt nothing."""

    def __init__(self, lr: float, momentum: float, batch_size: int, seed: int) -> None:
        images, labels = load_digits(return_X_y=True)
        self._train: Any
        self._train, self._test, self._labels, self._answers = train_test_split(
            images / _GREYS, labels, test_size=0.25, random_state=0
        )
        self._batch = max(batch_size, 1)
        self._source = np.random.default_rng(seed)
        self._network = MLPClassifier(
            (32,),
            solver="sgd",
            learning_rate_init=lr,
            # PyTorch takes any, and diverges; so does this.
            momentum=min(momentum, 1.0),
            random_state=seed,
        )
        self._diverged = False

    def __len__(self) -> int:
        return len(self._train)

    def epoch(self) -> Iterator[tuple[int, float]]:
        """Learns everything once; after each batch how much was learnt, and the loss."""
        order = self._source.permutation(len(self))
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            yield start, self._learn(chosen)

    def _learn(self, chosen: Any) -> float:
        if self._diverged:
            return math.nan
        try:
            self._network.partial_fit(self._train[chosen], self._labels[chosen], classes=_CLASSES)
        except ValueError:
            # It refuses to go on with weights that are no numbers.
            self._diverged = True
            return math.nan
        return float(self._network.loss_)

    def tested(self) -> tuple[float, float]:
        """Accuracy and loss on what was not learnt."""
        if self._diverged:
            return 1 / len(_CLASSES), math.nan
        sure = self._network.predict_proba(self._test)
        accuracy = float((sure.argmax(axis=1) == self._answers).mean())
        return accuracy, float(log_loss(self._answers, sure, labels=_CLASSES))
