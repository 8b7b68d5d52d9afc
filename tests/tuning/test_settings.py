"""The settings of algorithms and early stopping, refused when an Experiment is written."""

from __future__ import annotations

import pytest
from tests.tuning.experiments import admitted, manifest

from kubeling.tuning.extensions import EARLY_STOPPING_SERVICE, SUGGESTION_SERVICE

PBT = {"suggestion_trial_dir": "/c", "n_population": "5", "truncation_threshold": "0.2"}


@pytest.mark.parametrize(
    ("algorithm", "settings", "message"),
    [
        ("random", {"random_state": "-1"}, "random_state should be greater or equal than zero"),
        ("random", {"seed": "1"}, "unknown setting seed for algorithm random"),
        ("sobol", {"sigma": "1"}, "unknown setting sigma for algorithm sobol"),
        ("tpe", {"gamma": "1"}, "gamma should be in the range of (0, 1)"),
        ("tpe", {"prior_weight": "0"}, "prior_weight should be greater than zero"),
        ("tpe", {"n_EI_candidates": "x"}, "failed to validate n_EI_candidates(x): invalid literal"),
        ("multivariate-tpe", {"n_startup_trials": "-1"}, "should be greater or equal than zero"),
        (
            "bayesianoptimization",
            {"base_estimator": "RF"},
            "base_estimator RF is not supported in Bayesian optimization; GP is",
        ),
        ("bayesianoptimization", {"acq_func": "EIps"}, "acq_func EIps is not supported in Bayes"),
        ("bayesianoptimization", {"n_initial_points": "-1"}, "should be greater or equal than"),
        ("cmaes", {"restart_strategy": "often"}, "restart_strategy often is not supported in"),
        ("cmaes", {"sigma": "-1"}, "sigma should be greater or equal than zero"),
        ("cmaes", {}, "cmaes only supports two or more dimensional continuous search space."),
        ("hyperband", {"r_l": "9"}, "resource_name must be set"),
        ("hyperband", {}, "r_l, resource_name must be set, all of them"),
        ("hyperband", {"r_l": "-1", "resource_name": "lr"}, "r_l must be a positive float number."),
        (
            "hyperband",
            {"r_l": "9", "resource_name": "epochs"},
            "value of resource_name setting must be in parameters.",
        ),
        ("asha", {"resource_name": "lr"}, "max_resource must be set"),
        ("pbt", {**PBT, "n_population": "4"}, "n_population should be >= 5"),
        ("pbt", {**PBT, "truncation_threshold": "2"}, "should be between 0 and 1, inclusive"),
        ("pbt", {**PBT, "resample_probability": "2"}, "should be null to perturb at 0.8 or 1.2"),
        ("pbt", PBT, "pbt keeps checkpoints on a volume and needs FromVolume"),
        ("gp", {"objectives": "size"}, "size must be one of objective.additionalMetricNames"),
        ("nsga2", {"constraints": "loss ~ 3"}, "must be a metric, <= or >=, and a number"),
        ("enas", {"controller_hidden_size": "0"}, "must be in range [1, inf)"),
        ("enas", {}, "say which network is searched: graphConfig and operations"),
        ("darts", {"num_epochs": "0"}, "num_epochs should be greater than zero"),
    ],
)
def test_settings_are_refused_in_the_words_of_upstreams_services(
    algorithm: str, settings: dict[str, str], message: str
) -> None:
    stated = [{"name": name, "value": value} for name, value in settings.items()]
    obj = manifest(algorithm={"algorithmName": algorithm, "algorithmSettings": stated})
    assert message in " ".join(admitted(obj))


def test_what_upstream_takes_for_no_value_is_taken() -> None:
    for algorithm, settings in (
        ("tpe", {"gamma": "0.25", "prior_weight": "1.0", "n_EI_candidates": "24"}),
        ("bayesianoptimization", {"base_estimator": "GP", "acq_func": "gp_hedge"}),
    ):
        stated = [{"name": name, "value": value} for name, value in settings.items()]
        obj = manifest(algorithm={"algorithmName": algorithm, "algorithmSettings": stated})
        assert admitted(obj) == []


def test_architectures_are_searched_without_parameters() -> None:
    size = {"name": "size", "parameterType": "categorical", "feasibleSpace": {"list": ["3"]}}
    nas = {
        "graphConfig": {"numLayers": 2, "inputSizes": [32], "outputSizes": [10]},
        "operations": [{"operationType": "convolution", "parameters": [size]}],
    }
    template = manifest()["spec"]["trialTemplate"]
    template = {**template, "trialParameters": [{"name": "lr", "reference": "architecture"}]}
    obj = manifest(
        algorithm={
            "algorithmName": "enas",
            "algorithmSettings": [{"name": "controller_temperature", "value": "None"}],
        },
        parameters=None,
        nasConfig=nas,
        trialTemplate=template,
    )
    assert admitted(obj) == []
    obj["spec"]["nasConfig"] = {**nas, "operations": [{"operationType": "skip_connection"}]}
    assert "Missing ParameterConfigs" in " ".join(admitted(obj))
    obj["spec"]["algorithm"] = {"algorithmName": "darts"}
    assert "Missing ParameterConfigs" not in " ".join(admitted(obj))
    obj["spec"]["algorithm"] = {"algorithmName": "enas"}
    obj["spec"]["nasConfig"] = {**nas, "graphConfig": {}}
    assert "Missing NumLayers in GraphConfig" in " ".join(admitted(obj))
    obj["spec"]["algorithm"] = {"algorithmName": "random"}
    assert "enas and darts search nasConfig" in " ".join(admitted(obj))


def test_early_stopping_is_checked_as_algorithms_are() -> None:
    obj = manifest(earlyStopping={"algorithmName": "medianstop"})
    assert admitted(obj) == []
    wrong = [{"name": "start_step", "value": "0"}]
    obj = manifest(earlyStopping={"algorithmName": "medianstop", "algorithmSettings": wrong})
    assert "start_step must be greater or equal than one (>=1)" in " ".join(admitted(obj))
    obj = manifest(earlyStopping={"algorithmName": "often"})
    assert 'supported values: "asha", "medianstop", "patient", "percentile"' in admitted(obj)[0]


def test_a_service_of_the_users_answers_for_its_algorithm() -> None:
    obj = manifest(algorithm={"algorithmName": "mine"}, earlyStopping={"algorithmName": "mine-too"})
    obj["metadata"]["annotations"] = {
        SUGGESTION_SERVICE: "localhost:6789",
        EARLY_STOPPING_SERVICE: "localhost:6788",
    }
    assert admitted(obj) == []
