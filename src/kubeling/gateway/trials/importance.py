"""Which parameters matter: how far those of the good trials differ from those of all.

Optuna's PED-ANOVA, which needs no model and handles categories and any number of trials. It is
loaded when somebody asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kubeling.gateway.drawing.plane import number
from kubeling.gateway.trials.model import Goal, Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["LEAST", "importance_of"]

LEAST: Final = 8
"""Trials below which nothing can be said."""
_QUANTILE: Final = 0.25


def importance_of(study: Study, goal: Goal) -> list[tuple[str, float]]:
    """Parameters and their shares, the most important first; empty if too little is known."""
    trials = [t for t in study.trials if t.measured and goal.metric in t.metrics]
    spaces = {
        str(parameter["name"]): found
        for parameter in study.parameters
        if (found := _distribution(parameter)) is not None
    }
    if len(trials) < LEAST or not spaces or len({t.metrics[goal.metric] for t in trials}) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls what is this young experimental.
        return _evaluated(study, goal, spaces)


def _evaluated(
    study: Study, goal: Goal, spaces: Mapping[str, BaseDistribution]
) -> list[tuple[str, float]]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction=goal.direction)
    for trial in study.trials:
        if not trial.measured or goal.metric not in trial.metrics:
            continue
        values = {
            name: value
            for name, space in spaces.items()
            if (value := _value(space, trial.parameters.get(name))) is not None
        }
        if values.keys() == spaces.keys():
            made.add_trial(
                optuna.create_trial(
                    params=values, distributions=dict(spaces), value=trial.metrics[goal.metric]
                )
            )
    if len(made.trials) < LEAST:
        return []
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_QUANTILE)
    try:
        found = get_param_importances(made, evaluator=evaluator)
    except (ValueError, RuntimeError):
        # All trials alike in what is compared.
        return []
    return sorted(found.items(), key=lambda entry: -entry[1])


def _distribution(parameter: Mapping[str, Any]) -> BaseDistribution | None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    space = parameter.get("feasibleSpace") or {}
    if values := space.get("list"):
        return CategoricalDistribution([str(value) for value in values])
    low, high = number(space.get("min")), number(space.get("max"))
    if low is None or high is None or low >= high:
        return None
    log = space.get("distribution") in ("logUniform", "logNormal") and low > 0
    if parameter.get("parameterType") == "int":
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _value(space: BaseDistribution, text: str | None) -> Any:
    """A parameter's value as Optuna has it; ``None`` where it is not in the space."""
    if text is None:
        return None
    choices = getattr(space, "choices", None)
    value: Any = text if choices is not None else number(text)
    if value is None:
        return None
    if type(space).__name__ == "IntDistribution":
        value = int(value)
    if choices is not None:
        return value if value in choices else None
    low, high = getattr(space, "low", value), getattr(space, "high", value)
    return value if low <= value <= high else None
