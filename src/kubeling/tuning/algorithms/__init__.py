"""The algorithms that propose points, by the names Katib gives them.

:mod:`.base` has the contract. What an algorithm imports is loaded when the first point is asked
for, so an idle platform carries none of it.
"""

from kubeling.tuning.algorithms.base import (
    Algorithm,
    Exhausted,
    PastTrial,
    Proposal,
    Search,
    TrialState,
    Waiting,
)
from kubeling.tuning.algorithms.catalogue import ALGORITHMS, check_settings, create

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Exhausted",
    "PastTrial",
    "Proposal",
    "Search",
    "TrialState",
    "Waiting",
    "check_settings",
    "create",
]
