"""The unmodified clients of the training kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("workspace")
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def run(platform: Platform, tmp_path: Path, script: str, *requirements: str) -> str:
    """The output of a script that uses a client."""
    file = tmp_path / "client.py"
    file.write_text(script)
    return platform.run(str(python_with(*requirements)), str(file), timeout=300).stdout


TRAINING = """
from kubeflow.training import TrainingClient
from kubeflow.training import (
    KubeflowOrgV1ReplicaSpec, KubeflowOrgV1RunPolicy, KubeflowOrgV1TFJob, KubeflowOrgV1TFJobSpec,
)
from kubernetes import client as k8s

client = TrainingClient(namespace="default")
pod = k8s.V1PodTemplateSpec(spec=k8s.V1PodSpec(containers=[k8s.V1Container(
    name="tensorflow", image="python:3.11", command=["python", "-c", "print('trained')"])]))
job = KubeflowOrgV1TFJob(
    api_version="kubeflow.org/v1", kind="TFJob", metadata=k8s.V1ObjectMeta(name="from-client"),
    spec=KubeflowOrgV1TFJobSpec(
        run_policy=KubeflowOrgV1RunPolicy(clean_pod_policy="None"),
        tf_replica_specs={"Worker": KubeflowOrgV1ReplicaSpec(replicas=2, template=pod)}))
client.create_job(job)
client.wait_for_job_conditions("from-client", job_kind="TFJob", polling_interval=1)
assert client.is_job_succeeded("from-client", job_kind="TFJob")
print(sorted(client.get_job_pod_names("from-client")))
logs, _ = client.get_job_logs("from-client", job_kind="TFJob", is_master=True)
print(logs)
client.delete_job("from-client", job_kind="TFJob")
"""


def test_the_training_client_creates_follows_and_deletes_a_job(
    platform: Platform, tmp_path: Path
) -> None:
    said = run(platform, tmp_path, TRAINING, "kubeflow-training==1.9.4", "kubernetes<34")
    assert "['from-client-worker-0', 'from-client-worker-1']" in said
    assert "trained" in said


TRAINER = """
from kubeflow.trainer import CustomTrainer, TrainerClient

client = TrainerClient()
assert "torch-distributed" in [runtime.name for runtime in client.list_runtimes()]

def train():
    import os
    print(f"node {os.environ['DMLC_TASK_ID']} of {os.environ['DMLC_NUM_WORKER']}", flush=True)

name = client.train(
    runtime=client.get_runtime("xgboost-distributed"),
    trainer=CustomTrainer(func=train, num_nodes=2),
)
job = client.wait_for_job_status(name, timeout=120)
print(job.status, [step.name for step in job.steps])
print("".join(client.get_job_logs(name, step="node-1")))
client.delete_job(name)
"""


def test_the_trainer_client_runs_a_function_on_every_node(
    platform: Platform, tmp_path: Path
) -> None:
    said = run(platform, tmp_path, TRAINER, "kubeflow==0.5.0")
    assert "Complete ['node-0', 'node-1']" in said
    assert "node 1 of 2" in said
