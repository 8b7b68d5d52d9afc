"""What is filled into an Experiment, and what is refused with the field's path."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tuning.experiments import JOB, admitted, experiment, manifest

from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import CONFIG_MAPS, Resource


def parameter(kind: str = "double", **space: Any) -> dict[str, Any]:
    return {"name": "lr", "parameterType": kind, "feasibleSpace": space}


def template(**changes: Any) -> Obj:
    found = deep_copy(manifest()["spec"]["trialTemplate"])
    found.update(changes)
    return {key: value for key, value in found.items() if value is not None}


def test_defaults_are_those_the_clients_rely_on() -> None:
    spec = experiment(parallelTrialCount=None)["spec"]
    assert spec["parallelTrialCount"] == 3
    assert spec["resumePolicy"] == "Never"
    assert spec["objective"]["metricStrategies"] == [{"name": "loss", "value": "min"}]
    assert spec["parameters"][0]["feasibleSpace"]["distribution"] == "uniform"
    assert spec["metricsCollectorSpec"]["collector"]["kind"] == "StdOut"
    assert spec["trialTemplate"]["successCondition"] == (
        'status.conditions.#(type=="Complete")#|#(status=="True")#'
    )


@pytest.mark.parametrize(
    ("api_version", "kind", "labels"),
    [
        ("kubeflow.org/v1", "PyTorchJob", {"training.kubeflow.org/job-role": "master"}),
        (
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            {
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": "0",
            },
        ),
    ],
)
def test_the_primary_pod_of_known_kinds_is_known(
    api_version: str, kind: str, labels: dict[str, str]
) -> None:
    spec = {"apiVersion": api_version, "kind": kind, "spec": {"lr": "${trialParameters.lr}"}}
    stored = experiment(trialTemplate=template(trialSpec=spec))
    assert stored["spec"]["trialTemplate"]["primaryPodLabels"] == labels


def test_defaulting_twice_changes_nothing() -> None:
    once = experiment()
    again = deep_copy(once)
    assert admitted(again) == []
    assert again == once


def test_an_experiment_with_only_a_search_space_is_told_what_it_lacks() -> None:
    errors = admitted(manifest(objective=None, trialTemplate=None))
    assert [error.partition(":")[0] for error in errors] == ["spec.objective", "spec.trialTemplate"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"maxTrialCount": 0}, "spec.maxTrialCount: Invalid value: 0"),
        ({"parallelTrialCount": 9}, "spec.parallelTrialCount: Invalid value: 9"),
        ({"maxFailedTrialCount": -1}, "spec.maxFailedTrialCount: Invalid value: -1"),
        ({"resumePolicy": "Maybe"}, 'spec.resumePolicy: Unsupported value: "Maybe"'),
        (
            {"objective": {"type": "improve", "objectiveMetricName": "loss"}},
            'spec.objective.type: Unsupported value: "improve"',
        ),
        (
            {"objective": {"type": "minimize"}},
            "spec.objective.objectiveMetricName: Required value",
        ),
        (
            {"algorithm": {"algorithmName": "magic"}},
            'spec.algorithm.algorithmName: Unsupported value: "magic"',
        ),
        (
            {
                "algorithm": {
                    "algorithmName": "tpe",
                    "algorithmSettings": [{"name": "gamma", "value": "2"}],
                }
            },
            'spec.algorithm.algorithmSettings[gamma]: Invalid value: "2"',
        ),
        ({"parameters": []}, "spec.parameters: Required value"),
        (
            {"parameters": [parameter(min="0.1")]},
            "spec.parameters[0].feasibleSpace.max: Required value",
        ),
        (
            {"parameters": [parameter(min="0.1", max="x")]},
            'spec.parameters[0].feasibleSpace.max: Invalid value: "x": must be a number',
        ),
        (
            {"parameters": [parameter("int", min="1", max="2", list=["1"])]},
            "spec.parameters[0].feasibleSpace.list: Forbidden",
        ),
        (
            {"parameters": [parameter("categorical")]},
            "spec.parameters[0].feasibleSpace.list: Required value",
        ),
        (
            {"algorithm": {"algorithmName": "grid"}},
            "spec.parameters[0].feasibleSpace.step: Required value",
        ),
        (
            {"trialTemplate": template(primaryContainerName=None)},
            "spec.trialTemplate.primaryContainerName: Required value",
        ),
        (
            {"trialTemplate": template(trialParameters=[])},
            "spec.trialTemplate.trialParameters: Required value",
        ),
        (
            {"trialTemplate": template(trialParameters=[{"name": "x", "reference": "lr"}])},
            'spec.trialTemplate.trialParameters[0].name: Invalid value: "x": '
            "parameter name: x in spec.trialParameters not found in spec.trialTemplate; use",
        ),
        (
            {"trialTemplate": template(trialParameters=[{"name": "lr", "reference": "rate"}])},
            'spec.trialTemplate.trialParameters[0].reference: Invalid value: "rate"',
        ),
        (
            {"trialTemplate": template(trialSpec={**JOB, "metadata": {"name": "x"}})},
            "spec.trialTemplate.trialSpec.metadata.name: Forbidden",
        ),
        (
            {"trialTemplate": template(trialSpec={**JOB, "apiVersion": "x.io/v1"})},
            "spec.trialTemplate.successCondition: Required value",
        ),
        (
            {"metricsCollectorSpec": {"collector": {"kind": "Telepathy"}}},
            'spec.metricsCollectorSpec.collector.kind: Unsupported value: "Telepathy"',
        ),
        (
            {
                "metricsCollectorSpec": {
                    "collector": {"kind": "StdOut"},
                    "source": {"filter": {"metricsFormat": ["(loss)"]}},
                }
            },
            "spec.metricsCollectorSpec.source.filter.metricsFormat[0]: Invalid value",
        ),
    ],
)
def test_every_mistake_is_named_with_its_field(changes: dict[str, Any], error: str) -> None:
    errors = admitted(manifest(**changes))
    assert errors
    assert errors[0].startswith(error)


IN_CONFIG_MAP: Obj = {
    "configMapName": "templates",
    "configMapNamespace": "kubeflow",
    "templatePath": "job.yaml",
}


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({"job.yaml": "lr: ${trialParameters.lr}"}, []),
        (
            None,
            [
                'spec.trialTemplate: Invalid value: "": unable to parse spec.trialTemplate: '
                'configMap not found: configmaps "templates" not found in namespace "kubeflow"'
            ],
        ),
        (
            {"other.yaml": "lr: ${trialParameters.lr}"},
            [
                'spec.trialTemplate: Invalid value: "": unable to parse spec.trialTemplate: unable '
                "to find trial template in ConfigMap: TemplatePath: job.yaml, ConfigMap: templates"
            ],
        ),
        (
            {"job.yaml": "a: ${trialParameters.momentum}"},
            [
                'spec.trialTemplate.trialParameters[0].name: Invalid value: "lr": parameter name: '
                "lr in spec.trialParameters not found in spec.trialTemplate; use "
                "${trialParameters.lr} there or remove the parameter",
                'spec.trialTemplate: Invalid value: "": parameters: [${trialParameters.momentum}] '
                "in spec.trialTemplate not found in spec.trialParameters; declare them there",
            ],
        ),
    ],
)
def test_a_template_in_a_config_map_is_held_to_its_parameters(
    data: Obj | None, errors: list[str]
) -> None:
    def find(resource: Resource, name: str, namespace: str) -> Obj | None:
        assert (resource, name, namespace) == (CONFIG_MAPS, "templates", "kubeflow")
        return None if data is None else {"data": data}

    kept = template(
        trialSpec=None,
        configMap=IN_CONFIG_MAP,
        successCondition="status.succeeded",
        failureCondition="status.failed",
    )
    assert admitted(manifest(trialTemplate=kept), find=find) == errors
    assert admitted(manifest(trialTemplate=kept)) == [], "where nothing is known, it is left open"


def test_a_change_that_leaves_the_spec_alone_needs_no_config_map() -> None:
    stored = experiment(
        trialTemplate=template(
            trialSpec=None,
            configMap=IN_CONFIG_MAP,
            successCondition="status.succeeded",
            failureCondition="status.failed",
        )
    )
    labelled = deep_copy(stored)
    labelled["metadata"]["labels"] = {"team": "vision"}
    assert admitted(labelled, stored, find=lambda *_: None) == []


def test_a_name_that_trials_cannot_carry_is_refused() -> None:
    obj = manifest()
    obj["metadata"]["name"] = "a" * 41
    (error,) = admitted(obj)
    assert error.startswith("metadata.name: Invalid value")


def test_a_grid_cannot_have_more_trials_than_combinations() -> None:
    grid = manifest(
        algorithm={"algorithmName": "grid"},
        parameters=[parameter(min="0.1", max="0.3", step="0.1")],
    )
    (error,) = admitted(grid)
    assert "must not exceed the 3 combinations" in error


def test_only_the_budget_of_an_experiment_may_change() -> None:
    old = experiment()
    assert admitted(_with(old, maxTrialCount=10), old) == []
    (error,) = admitted(_with(old, algorithm={"algorithmName": "tpe"}), old)
    assert error.startswith("spec: Forbidden: only parallelTrialCount")


def test_a_finished_experiment_goes_on_only_if_it_was_meant_to() -> None:
    ended = {"type": "Succeeded", "status": "True", "reason": "ExperimentMaxTrialsReached"}
    status = {"conditions": [ended], "trials": 4}
    never = {**experiment(), "status": status}
    assert admitted(_with(never, maxTrialCount=10), never)[0].startswith("spec.resumePolicy")
    resumable = {**experiment(resumePolicy="LongRunning"), "status": status}
    assert admitted(_with(resumable, maxTrialCount=10), resumable) == []
    assert "must exceed the 4 trials" in admitted(_with(resumable, maxTrialCount=3), resumable)[0]


def _with(obj: Obj, **spec: Any) -> Obj:
    changed = deep_copy(obj)
    changed["spec"].update(spec)
    return changed
