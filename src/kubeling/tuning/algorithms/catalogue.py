"""Which algorithms there are, where they are found, and which settings each takes.

Settings are text on the wire. They are checked when the Experiment is written, without loading the
algorithm. Source of names, defaults and refusals: upstream's ``pkg/suggestion/v1beta1``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from kubeling.tuning.algorithms.base import Algorithm, Search
from kubeling.tuning.algorithms.distinct import Distinct
from kubeling.tuning.settings import Setting, choice, fraction, setting_errors, text, whole

__all__ = ["ALGORITHMS", "DEFAULT", "SEVERAL_OBJECTIVES", "check_settings", "create"]

DEFAULT: Final = "auto"
"""What is used where nobody asked for an algorithm."""

_NOT_NEGATIVE: Final = whole("", 0, "should be greater or equal than zero")
_POSITIVE: Final = fraction("", 0, None, "should be greater than zero", open=True)
_COUNT: Final = whole("", 1, "should be greater than zero")
_ABOVE_ONE: Final = fraction("3", 1, None, "should be greater than one", open=True)
_SEED: Final[Mapping[str, Setting]] = {"random_state": _NOT_NEGATIVE}
_SHARE: Final = fraction("", 0, 1, "should be between 0 and 1, inclusive")
_OBJECTIVES: Final[Mapping[str, Setting]] = {"objectives": text(), "constraints": text()}
_SKOPT: Final = "Bayesian optimization"

_TPE: Final = {
    **_SEED,
    "n_startup_trials": _NOT_NEGATIVE,
    "n_EI_candidates": _COUNT,
    "n_ei_candidates": _NOT_NEGATIVE,
    "gamma": fraction("", 0, 1, "should be in the range of (0, 1)", open=True),
    "prior_weight": _POSITIVE,
}
_BAYESIAN: Final = {
    **_SEED,
    "base_estimator": choice("GP", "GP", where=f"{_SKOPT}; GP is"),
    "n_initial_points": _NOT_NEGATIVE,
    "acq_func": choice("gp_hedge", "gp_hedge", "LCB", "EI", "PI", where=_SKOPT),
    "acq_optimizer": choice("auto", "auto", "sampling", "lbfgs", where=_SKOPT),
}
_CMAES: Final = {
    **_SEED,
    "sigma": fraction("", 0, None, "should be greater or equal than zero"),
    "restart_strategy": choice("none", "none", "None", "ipop", "bipop", where="CMAES optimization"),
}
_HYPERBAND: Final = {
    **_SEED,
    "r_l": Setting(
        lambda value: float(value) > 0, "must be a positive float number.", required=True
    ),
    "resource_name": text(required=True),
    "eta": Setting(lambda value: float(value) == float(value), "must be a number"),
}
_ASHA: Final = {
    **_SEED,
    "resource_name": text(required=True),
    "max_resource": Setting(
        lambda value: float(value) >= 1, "should be greater or equal than one", required=True
    ),
    "min_resource": fraction("1", 1, None, "should be greater or equal than one"),
    "reduction_factor": _ABOVE_ONE,
}
_PBT: Final = {
    **_SEED,
    "suggestion_trial_dir": text(required=True),
    "n_population": Setting(lambda value: int(value) >= 5, "should be >= 5", required=True),
    "truncation_threshold": Setting(_SHARE.allows, _SHARE.words, required=True),
    "resample_probability": Setting(
        _SHARE.allows,
        "should be null to perturb at 0.8 or 1.2, or be between 0 and 1, inclusive, to resample",
    ),
}
_RANGE: Final = "must be in range"
_ENAS: Final = {
    **_SEED,
    "controller_hidden_size": whole("", 1, f"{_RANGE} [1, inf)"),
    "controller_temperature": fraction("", 0, None, f"{_RANGE} (0, inf)", open=True, none=True),
    "controller_tanh_const": fraction("", 0, None, f"{_RANGE} (0, inf)", open=True, none=True),
    "controller_entropy_weight": fraction("", 0, None, f"{_RANGE} (0, inf)", open=True, none=True),
    "controller_baseline_decay": fraction("", 0, 1, f"{_RANGE} (0, 1]"),
    "controller_learning_rate": fraction("", 0, 1, f"{_RANGE} (0, 1]"),
    "controller_skip_target": fraction("", 0, 1, f"{_RANGE} (0, 1]"),
    "controller_skip_weight": fraction("", 0, None, f"{_RANGE} (0, inf)", open=True, none=True),
    "controller_train_steps": whole("", 1, f"{_RANGE} [1, inf)"),
    "controller_log_every_steps": whole("", 1, f"{_RANGE} [1, inf)"),
}
_NO_LESS: Final = fraction("", 0, None, "should be greater than or equal to zero")
_AT_LEAST_ONE: Final = whole("", 1, "should be greater than or equal to one")
_DARTS: Final = {
    "num_epochs": whole("", 1, "should be greater than zero"),
    **dict.fromkeys(("w_lr", "w_lr_min", "alpha_lr", "w_momentum", "w_grad_clip"), _NO_LESS),
    **dict.fromkeys(("w_weight_decay", "alpha_weight_decay"), _NO_LESS),
    "batch_size": whole("", 1, "should be greater than or equal to one", none=True),
    "num_workers": whole("", 0, "should be greater than or equal to zero"),
    **dict.fromkeys(("init_channels", "print_step", "num_nodes", "stem_multiplier"), _AT_LEAST_ONE),
}
_GENETIC: Final = {
    **_SEED,
    **_OBJECTIVES,
    "population_size": whole("", 2, "should be greater than one"),
    "crossover_prob": _SHARE,
    "mutation_prob": _SHARE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an algorithm is found and which settings it takes; ``repeats`` if points may recur."""

    module: str
    name: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    repeats: bool = False


ALGORITHMS: Final[Mapping[str, Entry]] = {
    "random": Entry("random_search", "RandomSearch", _SEED),
    "grid": Entry("grid", "GridSearch", _SEED, repeats=True),
    "sobol": Entry("sobol", "SobolSearch", _SEED),
    "tpe": Entry("tpe", "TPE", _TPE),
    "multivariate-tpe": Entry("tpe", "MultivariateTPE", _TPE),
    "bayesianoptimization": Entry("bayesian", "SkoptSearch", _BAYESIAN),
    "cmaes": Entry("cmaes_search", "CmaesSearch", _CMAES),
    "hyperband": Entry("halving", "HyperbandSearch", _HYPERBAND, repeats=True),
    "pbt": Entry("population", "PopulationSearch", _PBT, repeats=True),
    "enas": Entry("enas", "EnasSearch", _ENAS, repeats=True),
    "darts": Entry("architectures", "DartsSearch", _DARTS, repeats=True),
    "auto": Entry("bayesian", "GaussianSearch", {**_SEED, **_OBJECTIVES}),
    "gp": Entry(
        "bayesian",
        "GaussianSearch",
        {**_SEED, **_OBJECTIVES, "n_initial_points": _NOT_NEGATIVE},
    ),
    "nsga2": Entry("nsga2", "NSGA2Search", _GENETIC),
    "asha": Entry("halving", "AshaSearch", _ASHA, repeats=True),
}

SEVERAL_OBJECTIVES: Final = tuple(
    name for name, entry in ALGORITHMS.items() if "objectives" in entry.settings
)


def create(name: str, search: Search) -> Algorithm:
    """The algorithm of that name; loads what it needs."""
    entry = ALGORITHMS[name]
    module = importlib.import_module(f"kubeling.tuning.algorithms.{entry.module}")
    made = cast("Algorithm", getattr(module, entry.name)(search))
    return made if entry.repeats else Distinct(made, search)


def check_settings(name: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with an algorithm's settings: pairs of a setting's name and a message."""
    return setting_errors(name, ALGORITHMS[name].settings, settings)
