"""Experiments with every algorithm against a real API server, and what they learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tuning.cluster import Cluster, condition, running_cluster
from tests.tuning.experiments import manifest

from kubeling.kube.objects import Obj, deep_copy, labels, name
from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.server import serving
from kubeling.tuning.algorithms import ALGORITHMS
from kubeling.tuning.extensions import EARLY_STOPPING_SERVICE, SUGGESTION_SERVICE, WARM_START
from kubeling.tuning.grpc import messages as m
from kubeling.tuning.grpc.services import (
    GET_EARLY_STOPPING_RULES,
    GET_SUGGESTIONS,
    VALIDATE_ALGORITHM_SETTINGS,
    VALIDATE_EARLY_STOPPING_SETTINGS,
)
from kubeling.tuning.history import INDEX, WINDOW, Remembered, numbered, trimmed
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS

PARAMETERS = [
    {
        "name": "lr",
        "parameterType": "double",
        "feasibleSpace": {"min": "0.1", "max": "0.9", "step": "0.1"},
    },
    {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
]
NAS = {
    "graphConfig": {"numLayers": 2, "inputSizes": [32, 32, 3], "outputSizes": [10]},
    "operations": [
        {
            "operationType": "convolution",
            "parameters": [
                {
                    "name": "filter_size",
                    "parameterType": "categorical",
                    "feasibleSpace": {"list": ["3", "5"]},
                }
            ],
        }
    ],
}
REQUIRED = {
    "hyperband": {"r_l": "4", "eta": "2", "resource_name": "layers"},
    "asha": {"max_resource": "4", "resource_name": "layers"},
    "pbt": {
        "suggestion_trial_dir": "/ckpt",
        "n_population": "5",
        "truncation_threshold": "0.2",
    },
}
TOLD = {"enas": ("architecture", "nn_config"), "darts": ("search-space", "num-layers")}


def measure(job: Obj) -> tuple[str, int]:
    """Losses fall to what the first argument is; the size is the second."""
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    first = command[1] if command[1].replace(".", "").isdigit() else "0.5"
    return f"loss=1.0\nloss={first} size={command[2]}\n", 0


def search(algorithm: str, named: str = "search", **spec: Any) -> Obj:
    """An experiment whose trials are given what the algorithm proposes."""
    told = TOLD.get(algorithm, ("lr", "layers"))
    settings = {**REQUIRED.get(algorithm, {}), **spec.pop("settings", {})}
    space: Obj = {"nasConfig": NAS, "parameters": None} if algorithm in TOLD else {}
    obj = manifest(
        **{
            "algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": k, "value": v} for k, v in settings.items()],
            },
            "parameters": PARAMETERS,
            "resumePolicy": "FromVolume" if algorithm == "pbt" else "Never",
            **space,
            **spec,
        }
    )
    obj["metadata"]["name"] = named
    template = obj["spec"]["trialTemplate"] = deep_copy(obj["spec"]["trialTemplate"])
    template["trialParameters"] = [
        {"name": f"p{i}", "reference": reference} for i, reference in enumerate(told)
    ]
    container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["train", "${trialParameters.p0}", "${trialParameters.p1}"]
    return obj


async def trials_of(cluster: Cluster, of: str = "search") -> list[Obj]:
    """The trials in the order they were suggested."""
    selector = f"katib.kubeflow.org/experiment={of}"
    found = (await cluster.client.list(TRIALS, "team", labels=selector)).items
    return sorted(found, key=lambda trial: int(labels(trial)[INDEX]))


def points(trials: Sequence[Obj]) -> list[tuple[str, ...]]:
    return [tuple(a["value"] for a in t["spec"]["parameterAssignments"]) for t in trials]


async def test_every_algorithm_runs_an_experiment_to_its_end(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        names = {algorithm: f"by-{algorithm}" for algorithm in ALGORITHMS}
        for algorithm, named in names.items():
            await cluster.client.create(EXPERIMENTS, search(algorithm, named))
        for algorithm, named in names.items():
            found = await cluster.until(EXPERIMENTS, named, condition("Succeeded"))
            assert found["status"]["trialsSucceeded"] == 4, algorithm
            if algorithm not in TOLD:
                tried = points(await trials_of(cluster, named))
                assert len(set(tried)) == 4 or algorithm in REQUIRED


@pytest.mark.parametrize("algorithm", ["auto", "cmaes"])
async def test_a_search_goes_on_exactly_where_it_was(tmp_path: Path, algorithm: str) -> None:
    """The same points with and without a restart of everything in between."""
    budget: Obj = {"parallelTrialCount": 1, "settings": {"random_state": "5"}}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with running_cluster(tmp_path / "a", measure) as cluster:
        await cluster.client.create(EXPERIMENTS, search(algorithm, maxTrialCount=10, **budget))
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        straight = points(await trials_of(cluster))
    async with running_cluster(tmp_path / "b", measure) as cluster:
        await cluster.client.create(EXPERIMENTS, search(algorithm, maxTrialCount=10, **budget))
        await cluster.until(
            EXPERIMENTS, "search", lambda e: (e.get("status") or {}).get("trialsSucceeded", 0) >= 4
        )
    async with running_cluster(tmp_path / "b", measure) as cluster:
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        assert points(await trials_of(cluster)) == straight


async def test_a_searched_space_ends_the_experiment(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        small = [{**PARAMETERS[1], "feasibleSpace": {"min": "1", "max": "3"}}, PARAMETERS[0]]
        small[1] = {**PARAMETERS[0], "feasibleSpace": {"min": "0.5", "max": "0.5"}}
        await cluster.client.create(EXPERIMENTS, search("random", parameters=small))
        found = await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        assert found["status"]["conditions"][-1]["reason"] == "ExperimentSuggestionEndReached"
        assert found["status"]["trials"] == 3


async def test_trials_are_given_the_median_to_beat(tmp_path: Path) -> None:
    early = {
        "algorithmName": "medianstop",
        "algorithmSettings": [
            {"name": "min_trials_required", "value": "2"},
            {"name": "start_step", "value": "2"},
        ],
    }
    async with running_cluster(tmp_path, measure) as cluster:
        obj = search("grid", parallelTrialCount=1, maxTrialCount=3, earlyStopping=early)
        await cluster.client.create(EXPERIMENTS, obj)
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        trials = await trials_of(cluster)
        suggestion = await cluster.until(SUGGESTIONS, "search", bool)
    assert suggestion["spec"]["earlyStopping"] == early
    assert [t["spec"].get("earlyStoppingRules") for t in trials] == [
        None,
        None,
        # Both reported 1.0 and 0.1.
        [{"name": "loss", "value": "0.55", "comparison": "greater", "startStep": 2}],
    ]


async def test_an_experiment_learns_from_an_earlier_one(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        await cluster.client.create(EXPERIMENTS, search("sobol", "earlier", maxTrialCount=8))
        await cluster.until(EXPERIMENTS, "earlier", condition("Succeeded"))
        later = search("auto", maxTrialCount=4, parallelTrialCount=1)
        later["metadata"]["annotations"] = {WARM_START: "earlier"}
        await cluster.client.create(EXPERIMENTS, later)
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        before = set(points(await trials_of(cluster, "earlier")))
        after = points(await trials_of(cluster))
        assert not before & set(after)
        # No initial design any more: it goes where losses are small.
        assert sum(float(lr) <= 0.3 for lr, _ in after) >= 3


async def test_an_earlier_experiment_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        obj = search("auto")
        obj["metadata"]["annotations"] = {WARM_START: "nobody"}
        await cluster.client.create(EXPERIMENTS, obj)
        found = await cluster.until(EXPERIMENTS, "search", condition("Failed"))
        text = found["status"]["conditions"][-1]["message"]
        assert "there is no Experiment nobody in team to learn from" in text


async def test_an_earlier_experiment_with_another_metric_is_refused(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        await cluster.client.create(EXPERIMENTS, search("random", "earlier", maxTrialCount=2))
        await cluster.until(EXPERIMENTS, "earlier", condition("Succeeded"))
        obj = search("auto", objective={"type": "maximize", "objectiveMetricName": "accuracy"})
        obj["metadata"]["annotations"] = {WARM_START: "earlier"}
        await cluster.client.create(EXPERIMENTS, obj)
        found = await cluster.until(EXPERIMENTS, "search", condition("Failed"))
        text = found["status"]["conditions"][-1]["message"]
        assert "nothing to learn about accuracy from Experiment earlier" in text
        assert "measured loss" in text


async def test_several_objectives_leave_their_pareto_front(tmp_path: Path) -> None:
    objective = {
        "type": "minimize",
        "objectiveMetricName": "loss",
        "additionalMetricNames": ["size"],
        "metricStrategies": [
            {"name": "loss", "value": "latest"},
            {"name": "size", "value": "max"},
        ],
    }
    async with running_cluster(tmp_path, measure) as cluster:
        obj = search("nsga2", objective=objective, maxTrialCount=6)
        await cluster.client.create(EXPERIMENTS, obj)
        found = await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        figures = {
            name(t): (float(lr), -int(layers))
            for t in await trials_of(cluster)
            for lr, layers in points([t])
        }
        best = {
            of
            for of, mine in figures.items()
            if not any(o[0] <= mine[0] and o[1] <= mine[1] and o != mine for o in figures.values())
        }
        assert {entry["bestTrialName"] for entry in found["status"]["paretoFront"]} == best


# Suggestion services of the user's


async def test_a_service_of_the_users_proposes_the_points(tmp_path: Path) -> None:
    asked: list[m.GetSuggestionsRequest] = []

    async def suggest(request: m.GetSuggestionsRequest) -> m.GetSuggestionsReply:
        asked.append(request)
        number = request.total_request_number
        assignments = [
            m.ParameterAssignment("lr", f"0.{number}"),
            m.ParameterAssignment("layers", "2"),
        ]
        point = m.SuggestedPoint(assignments, f"search-mine-{number}", {"by": "me"})
        notes = m.AlgorithmSpec("mine", [m.AlgorithmSetting("step", str(number))])
        return m.GetSuggestionsReply([point], notes)

    async def accept(_: Any) -> m.ValidateAlgorithmSettingsReply:
        return m.ValidateAlgorithmSettingsReply()

    async def accept_stopping(_: Any) -> m.ValidateEarlyStoppingSettingsReply:
        return m.ValidateEarlyStoppingSettingsReply()

    async def rules(_: Any) -> m.GetEarlyStoppingRulesReply:
        rule = m.EarlyStoppingRule("loss", "9", m.ComparisonType.GREATER, 3)
        return m.GetEarlyStoppingRulesReply([rule])

    handlers: dict[Any, Any] = {
        GET_SUGGESTIONS: suggest,
        VALIDATE_ALGORITHM_SETTINGS: accept,
        GET_EARLY_STOPPING_RULES: rules,
        VALIDATE_EARLY_STOPPING_SETTINGS: accept_stopping,
    }
    async with serving(handlers) as port, running_cluster(tmp_path, measure) as cluster:
        obj = search("mine", maxTrialCount=3, parallelTrialCount=1)
        obj["spec"]["earlyStopping"] = {"algorithmName": "mine-too"}
        address = f"127.0.0.1:{port}"
        obj["metadata"]["annotations"] = {
            SUGGESTION_SERVICE: address,
            EARLY_STOPPING_SERVICE: address,
        }
        await cluster.client.create(EXPERIMENTS, obj)
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        trials = await trials_of(cluster)
        suggestion = await cluster.until(SUGGESTIONS, "search", bool)
    assert [name(t) for t in trials] == [f"search-mine-{n}" for n in (1, 2, 3)]
    assert points(trials) == [(f"0.{n}", "2") for n in (1, 2, 3)]
    assert all(labels(t)["by"] == "me" for t in trials)
    assert trials[0]["spec"]["earlyStoppingRules"][0]["startStep"] == 3
    assert suggestion["status"]["algorithmSettings"] == [{"name": "step", "value": "3"}]
    last = asked[-1]
    assert last.experiment.spec.algorithm.algorithm_settings == [m.AlgorithmSetting("step", "2")]
    assert last.experiment.spec.parameter_specs.parameters[1].feasible_space.max == "9"
    assert [t.status.condition for t in last.trials] == [m.TrialConditionType.SUCCEEDED] * 2
    assert last.trials[0].status.observation.metrics == [m.Metric("loss", "0.1")]


async def test_what_a_service_refuses_fails_the_experiment_in_its_words(tmp_path: Path) -> None:
    async def refuse(_: Any) -> m.ValidateAlgorithmSettingsReply:
        raise RpcError(Code.INVALID_ARGUMENT, "depth should be greater than zero")

    async with (
        serving({VALIDATE_ALGORITHM_SETTINGS: refuse}) as port,
        running_cluster(tmp_path, measure) as cluster,
    ):
        obj = search("mine")
        obj["metadata"]["annotations"] = {SUGGESTION_SERVICE: f"127.0.0.1:{port}"}
        await cluster.client.create(EXPERIMENTS, obj)
        found = await cluster.until(EXPERIMENTS, "search", condition("Failed"))
        text = found["status"]["conditions"][-1]["message"]
        assert "mine: depth should be greater than zero" in text


@pytest.mark.parametrize("named", ["No Name", "twice"])
async def test_a_name_that_no_trial_can_have_is_said(tmp_path: Path, named: str) -> None:
    async def suggest(_: m.GetSuggestionsRequest) -> m.GetSuggestionsReply:
        given = [m.ParameterAssignment("lr", "0.1"), m.ParameterAssignment("layers", "2")]
        return m.GetSuggestionsReply([m.SuggestedPoint(given, named)] * 2)

    async def accept(_: Any) -> m.ValidateAlgorithmSettingsReply:
        return m.ValidateAlgorithmSettingsReply()

    async with (
        serving({GET_SUGGESTIONS: suggest, VALIDATE_ALGORITHM_SETTINGS: accept}) as port,
        running_cluster(tmp_path, measure) as cluster,
    ):
        obj = search("mine", maxTrialCount=2, parallelTrialCount=2)
        obj["metadata"]["annotations"] = {SUGGESTION_SERVICE: f"127.0.0.1:{port}"}
        await cluster.client.create(EXPERIMENTS, obj)
        found = await cluster.until(EXPERIMENTS, "search", condition("Failed"))
        assert f"{named!r}" in found["status"]["conditions"][-1]["message"]


async def test_a_service_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with serving({}) as port:
        address = f"127.0.0.1:{port}"
    async with running_cluster(tmp_path, measure) as cluster:
        obj = search("mine")
        obj["metadata"]["annotations"] = {SUGGESTION_SERVICE: address}
        await cluster.client.create(EXPERIMENTS, obj)

        def waits(suggestion: Obj) -> bool:
            conditions = (suggestion.get("status") or {}).get("conditions") or ()
            return any(
                c["type"] == "DeploymentReady" and "cannot be reached" in c["message"]
                for c in conditions
            )

        await cluster.until(SUGGESTIONS, "search", waits)


# the window


def point(index: int) -> Obj:
    assignments = [{"name": "lr", "value": str(index)}]
    return numbered({"name": f"t{index}", "parameterAssignments": assignments}, index)


def born(point: Obj) -> Obj:
    return {
        "metadata": {"name": point["name"], "labels": point["labels"], "resourceVersion": "1"},
        "spec": {"parameterAssignments": point["parameterAssignments"]},
    }


def test_a_suggestion_keeps_what_has_no_trial_and_the_latest() -> None:
    proposed = [point(index) for index in range(WINDOW + 50)]
    trials = [born(p) for p in proposed if p["name"] != "t3"]
    kept = trimmed(proposed, {name(trial) for trial in trials}.__contains__)
    assert [p["name"] for p in kept] == ["t3", *(f"t{i}" for i in range(50, WINDOW + 50))]
    spec = manifest()["spec"]
    history = Remembered().past(spec, kept, trials)
    assert [past.name for past in history] == [f"t{i}" for i in range(WINDOW + 50)]


async def test_a_long_experiment_fits_its_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.tuning.history.WINDOW", 5)
    async with running_cluster(tmp_path, measure) as cluster:
        await cluster.client.create(
            EXPERIMENTS, search("grid", maxTrialCount=20, parallelTrialCount=4)
        )
        found = await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        assert found["status"]["trialsSucceeded"] == 20
        suggestion = await cluster.until(SUGGESTIONS, "search", condition("Succeeded"))
        assert suggestion["status"]["suggestionCount"] == 20
        assert len(suggestion["status"]["suggestions"]) < 12
        tried = points(await trials_of(cluster))
        assert tried == [(f"0.{i // 9 + 1}", str(i % 9 + 1)) for i in range(20)]
