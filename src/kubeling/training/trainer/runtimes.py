"""The built-in ClusterTrainingRuntimes: what a TrainJob can name without an administrator's help.

Failures end the job at once (``backoffLimit: 0``): restarting one process of a collective never
brings the others back, and nobody at a laptop wants to wait for six attempts.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES
from kubeling.training.trainer.resources import CLUSTER_TRAINING_RUNTIMES

__all__ = ["ANCESTOR_STEP", "FRAMEWORK", "NODE", "builtin_runtimes", "public_version"]

FRAMEWORK: Final = "trainer.kubeflow.org/framework"
ANCESTOR_STEP: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
NODE: Final = "node"
_SYSTEM: Final = "kubeflow-system"
_TRAINER_VERSION: Final = "v2.3.0"

_RUNTIMES: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("torch", {"numProcPerNode": "auto"}, "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"),
    ("jax", {}, "nvcr.io/nvidia/jax:25.10-py3"),
    ("xgboost", {}, "ghcr.io/kubeflow/trainer/xgboost-runtime:latest"),
)


def public_version() -> list[Obj]:
    """The ConfigMap in which the Trainer SDK looks for the version of the API it talks to."""
    return [
        new_object(NAMESPACES, _SYSTEM),
        new_object(
            CONFIG_MAPS,
            "kubeflow-trainer-public",
            _SYSTEM,
            data={"kubeflow_trainer_version": _TRAINER_VERSION},
        ),
    ]


def builtin_runtimes() -> list[Obj]:
    """One ``<framework>-distributed`` runtime per framework."""
    return [_runtime(framework, policy, image) for framework, policy, image in _RUNTIMES]


def _runtime(framework: str, policy: dict[str, Any], image: str) -> Obj:
    container = {"name": NODE, "image": image}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"backoffLimit": 0, "template": pod}
    replicated = {
        "name": NODE,
        "replicas": 1,
        "template": {"metadata": {"labels": {ANCESTOR_STEP: "trainer"}}, "spec": job},
    }
    return new_object(
        CLUSTER_TRAINING_RUNTIMES,
        f"{framework}-distributed",
        labels={FRAMEWORK: framework},
        spec={
            "mlPolicy": {"numNodes": 1, framework: policy},
            "template": {"spec": {"replicatedJobs": [replicated]}},
        },
    )
