"""Annotations of Experiments that say what Katib has no field for."""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, name
from kubeling.kube.objects import annotations as annotations_of

__all__ = ["EARLY_STOPPING_SERVICE", "SUGGESTION_SERVICE", "WARM_START", "earlier_experiments"]

WARM_START: Final = "kubeling.io/warm-start-from"
"""Names experiments of the namespace, separated by commas, whose trials to learn from."""

SUGGESTION_SERVICE: Final = "kubeling.io/suggestion-service"
"""Where a Suggestion service of the user's listens (``host:port``), whatever the algorithm."""

EARLY_STOPPING_SERVICE: Final = "kubeling.io/early-stopping-service"
"""Where an EarlyStopping service of the user's listens."""


def earlier_experiments(experiment: Obj) -> list[str]:
    """The experiments to learn from."""
    named = annotations_of(experiment).get(WARM_START, "").split(",")
    return [n.strip() for n in named if n.strip() and n.strip() != name(experiment)]
