"""The built-in ClusterTrainingRuntimes: what a TrainJob can name without an administrator's help.

Names, images and steps are upstream's (``manifests/base/runtimes``); on the embedded engine the
images stand for local environments. Failures end the job at once (``backoffLimit: 0``): restarting
one process of a collective never brings the others back, and nobody at a laptop wants to wait for
six attempts.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES
from kubeling.training.trainer.resources import CLUSTER_TRAINING_RUNTIMES
from kubeling.training.trainer.template import ANCESTOR_STEP, LAUNCHER, NODE

__all__ = ["FRAMEWORK", "builtin_runtimes", "public_version"]

FRAMEWORK: Final = "trainer.kubeflow.org/framework"
_SYSTEM: Final = "kubeflow-system"
_TRAINER_VERSION: Final = "v2.3.0"
_REGISTRY: Final = "ghcr.io/kubeflow/trainer"
_TORCH: Final = "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"

_TORCHTUNE: Final = (
    (
        "torchtune-llama3.2-1b",
        "meta-llama/Llama-3.2-1B-Instruct",
        "llama3_2/1B_full",
        ("tokenizer.path=/workspace/model/original/tokenizer.model",),
    ),
    (
        "torchtune-llama3.2-3b",
        "meta-llama/Llama-3.2-3B-Instruct",
        "llama3_2/3B_full",
        ("tokenizer.path=/workspace/model/original/tokenizer.model",),
    ),
    (
        "torchtune-qwen2.5-1.5b",
        "Qwen/Qwen2.5-1.5B-Instruct",
        "qwen2_5/1.5B_full",
        (
            "tokenizer.path=/workspace/model/vocab.json",
            "tokenizer.merges_file=/workspace/model/merges.txt",
        ),
    ),
)
"""Name, model, configuration and where the tokenizer lies."""


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
    """All of them."""
    return [
        _plain("torch", _TORCH),
        _plain("jax", "nvcr.io/nvidia/jax:25.10-py3"),
        _plain("xgboost", f"{_REGISTRY}/xgboost-runtime:latest"),
        _mpi("deepspeed", f"{_REGISTRY}/deepspeed-runtime"),
        _mpi("mlx", f"{_REGISTRY}/mlx-runtime"),
        *(_torchtune(*row) for row in _TORCHTUNE),
    ]


def _plain(framework: str, image: str) -> Obj:
    """Equal nodes that are told of one another."""
    policy = {"numNodes": 1, framework: {}}
    jobs = [_job(NODE, {"name": NODE, "image": image}, step="trainer")]
    return _runtime(f"{framework}-distributed", framework, policy, {"replicatedJobs": jobs})


def _mpi(framework: str, image: str) -> Obj:
    """A launcher that trains too, and nodes on which it starts processes."""
    nodes = {"name": NODE, "image": image, "command": ["sleep"], "args": ["365d"]}
    policy = {
        "numProcPerNode": 1,
        "mpiImplementation": "OpenMPI",
        "sshAuthMountPath": "/home/mpiuser/.ssh",
        "runLauncherAsNode": True,
    }
    launcher = _job(LAUNCHER, {"name": NODE, "image": image}, step="trainer")
    launcher["dependsOn"] = [{"name": NODE, "status": "Ready"}]
    template = {
        "network": {"publishNotReadyAddresses": True},
        "successPolicy": {"operator": "All", "targetReplicatedJobs": [LAUNCHER]},
        "replicatedJobs": [_job(NODE, nodes), launcher],
    }
    wanted = {"numNodes": 1, "mpi": policy}
    return _runtime(f"{framework}-distributed", framework, wanted, template)


def _torchtune(name: str, model: str, config: str, tokenizer: tuple[str, ...]) -> Obj:
    """A data set and a model are fetched into a volume, then torchtune trains on it."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
    }
    node = {
        "image": f"{_REGISTRY}/torchtune-trainer",
        "command": [
            *("tune", "run", "--rdzv_endpoint=localhost:29500", "full_finetune_distributed"),
            *("--config", config),
            "dataset=torchtune.datasets.instruct_dataset",
            "dataset.source=parquet",
            "dataset.data_dir=/workspace/dataset/data",
            "output_dir=/workspace/output",
            *tokenizer,
            "checkpointer.checkpoint_dir=/workspace/model",
        ],
        "resources": {"limits": {"nvidia.com/gpu": 2}},
    }
    steps = (("dataset-initializer", "tatsu-lab/alpaca"), ("model-initializer", model))
    jobs = [_job(step, _initializer(step, f"hf://{source}"), step=step) for step, source in steps]
    trainer = _job(NODE, _with_volume(NODE, node), step="trainer")
    trainer["dependsOn"] = [{"name": step, "status": "Complete"} for step, _ in steps]
    template = {
        "volumeClaimPolicies": [{"templates": [{"metadata": {"name": _VOLUME}, "spec": claim}]}],
        "replicatedJobs": [*jobs, trainer],
    }
    return _runtime(name, "torchtune", {"numNodes": 1, "torch": {}}, template)


_VOLUME: Final = "initializer"


def _initializer(step: str, source: str) -> dict[str, Any]:
    content = {
        "image": f"{_REGISTRY}/{step}",
        "env": [{"name": "STORAGE_URI", "value": source}],
    }
    return _with_volume(step, content)


def _with_volume(name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, **content, "volumeMounts": [{"name": _VOLUME, "mountPath": "/workspace"}]}


def _job(name: str, container: dict[str, Any], step: str = "") -> dict[str, Any]:
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    template: dict[str, Any] = {"spec": {"backoffLimit": 0, "template": pod}}
    if step:
        template["metadata"] = {"labels": {ANCESTOR_STEP: step}}
    return {"name": name, "replicas": 1, "template": template}


def _runtime(name: str, framework: str, policy: Obj, template: dict[str, Any]) -> Obj:
    spec = {"mlPolicy": policy, "template": {"spec": template}}
    return new_object(CLUSTER_TRAINING_RUNTIMES, name, labels={FRAMEWORK: framework}, spec=spec)
