"""Early stopping: which trials are not worth finishing.

Everything here is a function of what was reported. ``medianstop`` works as upstream's: its rules
are computed when a trial is suggested (:func:`rules_for`) and kept in the trial's
``spec.earlyStoppingRules``. ``asha``, ``percentile`` and ``patient`` are ours and look at the
curves as they grow. Whoever collects the metrics asks :func:`stop_reason` about both.
"""

from kubeling.tuning.early_stopping.catalogue import EARLY_STOPPING, check_settings
from kubeling.tuning.early_stopping.curves import Curve
from kubeling.tuning.early_stopping.decision import (
    compares_trials,
    gives_rules,
    rules_for,
    stop_reason,
)

__all__ = [
    "EARLY_STOPPING",
    "Curve",
    "check_settings",
    "compares_trials",
    "gives_rules",
    "rules_for",
    "stop_reason",
]
