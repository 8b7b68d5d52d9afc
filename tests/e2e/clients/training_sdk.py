"""What users of ``kubeflow-training`` do: start jobs of every kind, follow them, look at the logs.

Every public method of ``TrainingClient`` that works without a model hub.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubeflow.training import TrainingClient, models
from kubeflow.training.constants import constants
from kubernetes import client as k8s

NAMESPACE = "default"
IMAGE = "python:3.11"
ROLES = {
    "TFJob": {"Chief": 1, "Worker": 1},
    "PyTorchJob": {"Master": 1, "Worker": 1},
    "XGBoostJob": {"Master": 1, "Worker": 1},
    "MPIJob": {"Launcher": 1, "Worker": 1},
    "PaddleJob": {"Worker": 2},
    "JAXJob": {"Worker": 2},
}
REPLICAS = {
    "TFJob": "tf_replica_specs",
    "PyTorchJob": "pytorch_replica_specs",
    "XGBoostJob": "xgb_replica_specs",
    "MPIJob": "mpi_replica_specs",
    "PaddleJob": "paddle_replica_specs",
    "JAXJob": "jax_replica_specs",
}
SAYS_WHO = "import socket; print('trained on', socket.gethostname())"
WAITS = "import time; print('waiting', flush=True); time.sleep(600)"
FAST = {"polling_interval": 0.2, "wait_timeout": 100}


@pytest.fixture
def client() -> TrainingClient:
    return TrainingClient(namespace=NAMESPACE)


def client_of(kind: str) -> TrainingClient:
    return TrainingClient(namespace=NAMESPACE, job_kind=kind)


def until(holds: Callable[[], object]) -> None:
    """Asks until it is so, as users do."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def name() -> str:
    return f"sdk-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def created(client: TrainingClient) -> Iterator[list[tuple[str, str]]]:
    """What a test creates, by kind and name; deleted at its end."""
    made: list[tuple[str, str]] = []
    yield made
    for kind, title in made:
        client.delete_job(title, job_kind=kind)


def job(kind: str, name: str, program: str, **policy: Any) -> Any:
    """A job of any kind whose replicas run a program."""
    container = k8s.V1Container(
        name=constants.JOB_PARAMETERS[kind]["container"],
        image=IMAGE,
        command=["python", "-c", program],
    )
    template = k8s.V1PodTemplateSpec(spec=k8s.V1PodSpec(containers=[container]))
    replicas = {
        role: models.KubeflowOrgV1ReplicaSpec(
            replicas=count, restart_policy="Never", template=template
        )
        for role, count in ROLES[kind].items()
    }
    spec = getattr(models, f"KubeflowOrgV1{kind}Spec")(
        run_policy=models.KubeflowOrgV1RunPolicy(**policy), **{REPLICAS[kind]: replicas}
    )
    return getattr(models, f"KubeflowOrgV1{kind}")(
        api_version=constants.API_VERSION,
        kind=kind,
        metadata=k8s.V1ObjectMeta(name=name, namespace=NAMESPACE),
        spec=spec,
    )


@pytest.mark.parametrize("kind", sorted(ROLES))
def test_a_job_of_every_kind(name: str, created: list[tuple[str, str]], kind: str) -> None:
    client = client_of(kind)
    client.create_job(job(kind, name, SAYS_WHO))
    created.append((kind, name))
    done = client.wait_for_job_conditions(name, **FAST)
    assert client.is_job_created(job=done)
    assert client.is_job_succeeded(name)
    for state in (client.is_job_running, client.is_job_restarting, client.is_job_failed):
        assert not state(job=done)
    assert {"Created", "Succeeded"} <= {c.type for c in client.get_job_conditions(name)}
    assert name in [found.metadata.name for found in client.list_jobs()]
    (leader,) = client.get_job_pod_names(name, is_master=True)
    assert len(client.get_job_pods(name)) == 2
    logs, _ = client.get_job_logs(name)
    assert logs == {leader: f"trained on {leader}\n"}


def test_a_function(client: TrainingClient, name: str, created: list[tuple[str, str]]) -> None:
    def train(parameters: dict) -> None:
        import os

        print("rate", parameters["rate"], "colour", os.environ["COLOUR"])

    client.create_job(
        name=name,
        train_func=train,
        parameters={"rate": 0.1},
        base_image=IMAGE,
        env_vars={"COLOUR": "blue"},
        labels={"team": "a"},
        resources_per_worker={"cpu": "100m"},
        queue_name="research",
    )
    created.append(("PyTorchJob", name))
    done = client.wait_for_job_conditions(name, **FAST)
    assert done.metadata.labels == {"team": "a", "kueue.x-k8s.io/queue-name": "research"}
    logs, _ = client.get_job_logs(name)
    assert "rate 0.1 colour blue" in "".join(logs.values())


def test_a_function_on_several_tensorflow_workers(
    client: TrainingClient, name: str, created: list[tuple[str, str]]
) -> None:
    def train() -> None:
        import json
        import os

        print("task", json.loads(os.environ["TF_CONFIG"])["task"])

    client.create_job(
        name=name,
        job_kind="TFJob",
        train_func=train,
        base_image=IMAGE,
        num_workers=2,
        num_chief_replicas=1,
    )
    created.append(("TFJob", name))
    client.wait_for_job_conditions(name, job_kind="TFJob", **FAST)
    pods = client.get_job_pod_names(name, replica_type="worker", replica_index=1)
    assert pods == [f"{name}-worker-1"]
    (chief,) = client.get_job_logs(name, job_kind="TFJob", replica_type="chief")[0].values()
    assert "'type': 'chief'" in chief


def test_following_a_job_that_runs(name: str, created: list[tuple[str, str]]) -> None:
    client = client_of("TFJob")
    program = "import time\nfor i in range(3): print('step', i, flush=True); time.sleep(0.2)"
    client.create_job(job("TFJob", name, program))
    created.append(("TFJob", name))
    client.wait_for_job_conditions(name, expected_conditions={"Running", "Succeeded"}, **FAST)
    until(lambda: {p.status.phase for p in client.get_job_pods(name)}.isdisjoint({"Pending"}))
    logs, _ = client.get_job_logs(name, is_master=False, follow=True)
    assert {text.count("step") for text in logs.values()} == {3}
    _, events = client.get_job_logs(name, verbose=True)
    assert f"Created pod: {name}-chief-0" in " ".join(events[f"tfjob/{name}"])
    assert f"pod/{name}-chief-0" in events


def test_a_job_that_fails(name: str, created: list[tuple[str, str]]) -> None:
    client = client_of("XGBoostJob")
    client.create_job(job("XGBoostJob", name, "raise SystemExit('no data')"))
    created.append(("XGBoostJob", name))
    with pytest.raises(RuntimeError, match="is Failed"):
        client.wait_for_job_conditions(name, **FAST)
    (failed,) = [c for c in client.get_job_conditions(name) if c.type == "Failed"]
    assert "no data" in failed.message


def test_suspending_and_resuming(name: str, created: list[tuple[str, str]]) -> None:
    client = client_of("JAXJob")
    client.create_job(job("JAXJob", name, WAITS))
    created.append(("JAXJob", name))
    seen: list[str] = []
    running: dict[str, Any] = {**FAST, "expected_conditions": {"Running"}}
    client.wait_for_job_conditions(
        name, callback=lambda found: seen.append(found.metadata.name), **running
    )
    assert set(seen) == {name}
    client.update_job(job("JAXJob", name, WAITS, suspend=True), name)
    until(lambda: not client.get_job_pods(name))
    assert not client.is_job_running(name)
    client.update_job(job("JAXJob", name, WAITS, suspend=False), name)
    client.wait_for_job_conditions(name, **running)


def test_a_job_that_another_controller_manages(name: str, created: list[tuple[str, str]]) -> None:
    client = client_of("PaddleJob")
    client.create_job(job("PaddleJob", name, SAYS_WHO, managed_by="kueue.x-k8s.io/multikueue"))
    created.append(("PaddleJob", name))
    with pytest.raises(RuntimeError):
        client.create_job(job("PaddleJob", f"{name}-x", SAYS_WHO, managed_by="example.com/other"))
    assert client.get_job(name).status is None
    assert client.get_job_pods(name) == []


def test_a_deleted_job_is_gone(client: TrainingClient, name: str) -> None:
    client.create_job(job("TFJob", name, WAITS))
    client.delete_job(name, job_kind="TFJob")
    with pytest.raises(RuntimeError):
        client.get_job(name, job_kind="TFJob")
