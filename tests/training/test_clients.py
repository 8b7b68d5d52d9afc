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
