"""What users of ``kubeflow-katib`` do: tune a function, look at what it found, go on.

Every public method of ``KatibClient`` that works without a model hub, and ``report_metrics``.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import kubeflow.katib as katib
import pytest
from kubeflow.katib import KatibClient, models
from kubeflow.katib.utils.utils import FakeResponse

NAMESPACE = "default"
DB_MANAGER = os.environ["KATIB_DB_MANAGER"]
IMAGE = "python:3.11"


def objective(parameters: dict) -> None:
    """Upstream's own example: a function of two parameters."""
    import time

    time.sleep(0.1)
    result = 4 * int(parameters["a"]) - float(parameters["b"]) ** 2
    print(f"result={result}")


def pushing(parameters: dict) -> None:
    """The same, reported rather than printed."""
    import kubeflow.katib as katib

    for step in range(3):
        katib.report_metrics({"result": int(parameters["a"]) + step, "other": step})


@pytest.fixture(scope="module")
def client() -> KatibClient:
    return KatibClient(namespace=NAMESPACE)


@pytest.fixture
def name(client: KatibClient) -> Iterator[str]:
    chosen = f"sdk-{uuid.uuid4().hex[:8]}"
    yield chosen
    client.delete_experiment(chosen)


def tune(client: KatibClient, name: str, **options: Any) -> None:
    client.tune(
        **{
            "name": name,
            "objective": objective,
            "base_image": IMAGE,
            "parameters": {
                "a": katib.search.int(min=10, max=20),
                "b": katib.search.double(min=0.1, max=0.2),
            },
            "objective_metric_name": "result",
            "max_trial_count": 2,
            "parallel_trial_count": 2,
            **options,
        }
    )


def until(client: KatibClient, name: str, condition: str = "Succeeded") -> Any:
    return client.wait_for_experiment_condition(
        name, expected_condition=condition, timeout=120, polling_interval=1
    )


def test_a_function_is_tuned_and_everything_about_it_can_be_read(
    client: KatibClient, name: str
) -> None:
    tune(client, name, retain_trials=True, env_per_trial={"SEED": "1"})
    until(client, name, "Created")
    done = until(client, name)
    assert client.is_experiment_created(name)
    assert client.is_experiment_succeeded(name)
    assert not client.is_experiment_running(name)
    assert not client.is_experiment_restarting(name)
    assert not client.is_experiment_failed(name)
    assert [c.type for c in client.get_experiment_conditions(name)][-1] == "Succeeded"
    assert name in [e.metadata.name for e in client.list_experiments()]

    trials = client.list_trials(name)
    assert len(trials) == done.status.trials_succeeded == 2
    best = client.get_optimal_hyperparameters(name)
    point = {p.name: p.value for p in best.parameter_assignments}
    (metric,) = best.observation.metrics
    assert float(metric.max) == pytest.approx(4 * int(point["a"]) - float(point["b"]) ** 2)

    details = {d["name"]: d for d in client.get_success_trial_details(name)}
    assert details.keys() == {trial.metadata.name for trial in trials}
    chosen = client.get_trial(best.best_trial_name)
    assert chosen.status.observation.metrics[0].latest == metric.latest
    assert client.get_suggestion(name).status.suggestion_count == 2
    # The SDK lists Experiments here, and reads them as Suggestions.
    assert isinstance(client.list_suggestions(), list)

    (log,) = client.get_trial_metrics(best.best_trial_name, db_manager_address=DB_MANAGER)
    assert (log.metric.name, log.metric.value) == ("result", metric.latest)
    lines = list(client.get_job_logs(name, best.best_trial_name))
    assert f"result={metric.latest}" in lines
    followed = list(client.get_job_logs(name, best.best_trial_name, follow=True))
    assert f"result={metric.latest}" in followed


def test_a_training_job_may_be_the_trial(client: KatibClient, name: str) -> None:
    resources = katib.TrainerResources(
        num_workers=1, num_procs_per_worker=1, resources_per_worker={"cpu": "100m"}
    )
    tune(client, name, resources_per_trial=resources, max_trial_count=1, parallel_trial_count=1)
    until(client, name)
    (trial,) = client.list_trials(name)
    assert trial.spec.run_spec["kind"] == "PyTorchJob"
    assert client.get_optimal_hyperparameters(name).best_trial_name == trial.metadata.name


def test_metrics_are_reported_from_within_the_trial(client: KatibClient, name: str) -> None:
    tune(
        client,
        name,
        objective=pushing,
        base_image="katib-sdk",
        metrics_collector_config={"kind": "Push"},
        additional_metric_names=["other"],
    )
    until(client, name)
    best = client.get_optimal_hyperparameters(name)
    found = {m.name: (float(m.min), float(m.max)) for m in best.observation.metrics}
    low, high = found["result"]
    assert (high - low, found["other"]) == (2, (0, 2))
    logs = client.get_trial_metrics(best.best_trial_name, db_manager_address=DB_MANAGER)
    assert [log.metric.name for log in logs] == ["result", "other"] * 3


def test_a_finished_experiment_is_given_more_trials(client: KatibClient, name: str) -> None:
    tune(client, name)
    experiment = until(client, name)
    client.delete_experiment(name)
    # What tune() makes, as a user would make it by hand to set what tune() cannot.
    text = KatibClient().api_client.sanitize_for_serialization(experiment.spec)
    spec = models.V1beta1ExperimentSpec(**_deserialized(client, text))
    spec.resume_policy = "FromVolume"
    client.create_experiment(
        models.V1beta1Experiment(
            api_version="kubeflow.org/v1beta1",
            kind="Experiment",
            metadata=models.V1ObjectMeta(name=name, namespace=NAMESPACE),
            spec=spec,
        )
    )
    until(client, name)
    before = {trial.metadata.name for trial in client.list_trials(name)}
    client.edit_experiment_budget(name, max_trial_count=3, parallel_trial_count=1)
    until(client, name, "Restarting")
    done = until(client, name)
    assert done.status.trials_succeeded == 3
    assert before < {trial.metadata.name for trial in client.list_trials(name)}


def test_a_failed_experiment_says_so(client: KatibClient, name: str) -> None:
    def failing(parameters: dict) -> None:
        raise SystemExit(f"cannot use {parameters}")

    tune(
        client,
        name,
        objective=failing,
        max_failed_trial_count=1,
        trial_active_deadline_seconds=2,
    )
    with pytest.raises(RuntimeError, match="Failed"):
        until(client, name)
    assert client.is_experiment_failed(name)
    assert until(client, name, "Failed")


def _deserialized(client: KatibClient, spec: dict[str, Any]) -> dict[str, Any]:
    import json

    made = client.api_client.deserialize(
        FakeResponse(json.loads(json.dumps(spec))), "V1beta1ExperimentSpec"
    )
    return {field: getattr(made, field) for field in made.openapi_types}
