"""Which early stopping algorithms there are, and which settings each takes.

Source: upstream's ``pkg/earlystopping/v1beta1/medianstop/service.py`` for ``medianstop`` and the
words of its refusals; the settings of the others are named after Optuna's pruners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kubeling.tuning.settings import Setting, fraction, setting_errors, whole

__all__ = ["EARLY_STOPPING", "check_settings", "number_of"]

_START: Final = whole("4", 1, "must be greater or equal than one (>=1)")
_TRIALS: Final = whole("3", 1, "must be greater than zero (>0)")

EARLY_STOPPING: Final[Mapping[str, Mapping[str, Setting]]] = {
    "medianstop": {"min_trials_required": _TRIALS, "start_step": _START},
    "asha": {
        "min_resource": whole("1", 1, "must be greater or equal than one (>=1)"),
        "reduction_factor": whole("3", 2, "must be greater or equal than two (>=2)"),
        "min_early_stopping_rate": whole("0", 0, "must be greater or equal than zero (>=0)"),
    },
    "percentile": {
        "percentile": fraction("25", 0, 100, "must be between 0 and 100"),
        "min_trials_required": _TRIALS,
        "start_step": _START,
    },
    "patient": {
        "patience": whole("5", 1, "must be greater than zero (>0)"),
        "min_delta": fraction("0", 0, None, "must be greater or equal than zero (>=0)"),
        "start_step": whole("1", 1, "must be greater or equal than one (>=1)"),
    },
}


def check_settings(name: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with an algorithm's settings: pairs of a setting's name and a message."""
    return setting_errors(name, EARLY_STOPPING[name], settings)


def number_of(name: str, setting: str, settings: Mapping[str, str]) -> float:
    """A setting's value or its default."""
    return float(settings.get(setting) or EARLY_STOPPING[name][setting].default)
