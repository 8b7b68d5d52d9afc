"""What algorithms and their settings do, in a sentence each: what a form says beside its fields.

What a setting must be is said by the catalogues; a setting that is not explained here is shown with
that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["ABOUT_ALGORITHMS", "about_setting"]

ABOUT_ALGORITHMS: Final[Mapping[str, str]] = {
    "random": "Points at random: a baseline, and good where many trials run at once.",
    "grid": "Every combination once; numbers need a step.",
    "sobol": "Points spread evenly over the space, without regard to results.",
    "tpe": "Learns from results which regions are good.",
    "multivariate-tpe": "As tpe, and learns which parameters go together.",
    "bayesianoptimization": "A model of the objective chooses each point; for few, costly trials.",
    "gp": "As auto; how many points come before the model is yours to say.",
    "auto": "A model of the objective chooses each point; what to take unless you know better.",
    "cmaes": "Evolves a cloud of points; for numbers only, and many trials.",
    "nsga2": "Evolves points towards several objectives at once.",
    "hyperband": "Many short trials; only the good ones get more of a resource.",
    "asha": "As hyperband, without waiting for slow trials.",
    "pbt": "A population that trains on, copies its best and changes parameters on the way.",
    "enas": "Searches network architectures with shared weights.",
    "darts": "Searches network architectures by gradient, in one trial.",
    "medianstop": "Ends a trial that is worse than the median of the others at the same step.",
    "percentile": "Ends a trial that is not among the best at the same step.",
    "patient": "Ends a trial that has not got better for a while.",
}
_ABOUT_SETTINGS: Final[Mapping[str, str]] = {
    "random_state": "A seed: the same one gives the same points.",
    "n_startup_trials": "How many points are drawn at random before it learns.",
    "n_initial_points": "How many points are drawn at random before it learns.",
    "n_EI_candidates": "How many candidates are compared for each point.",
    "n_ei_candidates": "How many candidates are compared for each point.",
    "gamma": "The share of trials that count as good.",
    "prior_weight": "How much the range itself counts against results.",
    "base_estimator": "The model of the objective.",
    "acq_func": "How promising and unknown regions are weighed.",
    "acq_optimizer": "How the best point of the model is found.",
    "sigma": "How far the first points are spread.",
    "restart_strategy": "What happens when the search is stuck.",
    "r_l": "The most of the resource that one trial gets.",
    "resource_name": "The parameter that is the resource, as the number of epochs.",
    "eta": "Of how many trials one goes on to the next round.",
    "population_size": "How many points are in one generation.",
    "n_population": "How many trials are in one generation.",
    "truncation_threshold": "The share of the worst that copy the best.",
    "resample_probability": "How likely a parameter is drawn anew.",
    "suggestion_trial_dir": "Where trials find and leave their checkpoints.",
    "min_resource": "The step before which no trial is ended.",
    "reduction_factor": "Of how many trials one goes on.",
    "min_early_stopping_rate": "How many of the first rounds are skipped.",
    "min_trials_required": "How many trials must have ended before it judges.",
    "start_step": "The step before which no trial is ended.",
    "percentile": "Which per cent of trials go on.",
    "patience": "For how many steps it may not get better.",
    "min_delta": "What counts as better.",
    "objectives": "Which of the other metrics are objectives too; for nsga2 all of them otherwise.",
    "constraints": "What must hold of other metrics, as latency<=0.1.",
    "crossover_prob": "How likely a point is made of two others.",
    "mutation_prob": "How likely a parameter of a new point is changed at random.",
    "max_resource": "The most of the resource that one trial gets.",
    "controller_train_steps": "How long the controller learns from each round.",
    "controller_hidden_size": "Changes nothing: this controller has no hidden layer.",
    "controller_temperature": "How evenly the controller draws.",
    "controller_tanh_const": "How sure the controller may become.",
    "controller_entropy_weight": "How much variety is rewarded.",
    "controller_baseline_decay": "How slowly the usual reward follows.",
    "controller_learning_rate": "The step size of the controller.",
    "controller_skip_target": "The share of skip connections that is aimed at.",
    "controller_skip_weight": "How much that share counts.",
    "controller_log_every_steps": "Changes nothing: a round is learnt in one step.",
    "num_epochs": "For how long the one trial trains.",
    "w_lr": "The step size for weights in the beginning.",
    "w_lr_min": "The step size for weights in the end.",
    "w_momentum": "The momentum for weights.",
    "w_weight_decay": "How far weights are kept small.",
    "w_grad_clip": "The largest gradient for weights.",
    "alpha_lr": "The step size for the architecture.",
    "alpha_weight_decay": "How far the architecture's weights are kept small.",
    "batch_size": "How many samples are in a step.",
    "num_workers": "How many processes load data.",
    "init_channels": "How many channels the first cell has.",
    "print_step": "After how many steps it says how far it is.",
    "num_nodes": "How many nodes are in a cell.",
    "stem_multiplier": "How much wider the first layer is.",
}


def about_setting(name: str, setting: Any) -> Obj:
    """A setting's name, what it does, what it must be and what it is otherwise."""
    return {
        "name": name,
        "about": _ABOUT_SETTINGS.get(name, ""),
        "must": _must(str(getattr(setting, "words", ""))),
        "default": str(getattr(setting, "default", "")),
        "required": bool(getattr(setting, "required", False)),
    }


def _must(words: str) -> str:
    """A refusal's words as a rule; those about a wrong value alone are none."""
    if not words or "{value}" in words:
        return ""
    if words.startswith("should be"):
        return words.replace("should", "must", 1)
    return words if words.startswith("must") else f"must be {words}"
