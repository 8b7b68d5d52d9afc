"""Small experiments, trials and suggestions."""

from __future__ import annotations

from typing import Any

from kubeling.kube.admission import AdmissionRequest, Find
from kubeling.kube.objects import Obj
from kubeling.tuning.admission import admissions
from kubeling.tuning.resources import EXPERIMENTS

JOB: Obj = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "train",
                        "image": "python:3.11",
                        "command": ["python", "-c", "print('loss=${trialParameters.lr}')"],
                    }
                ],
            }
        }
    },
}


def manifest(**spec: Any) -> Obj:
    """A complete manifest as a user writes it; keywords replace or remove (``None``) fields."""
    complete = {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "maxTrialCount": 4,
        "parallelTrialCount": 2,
        "parameters": [
            {
                "name": "lr",
                "parameterType": "double",
                "feasibleSpace": {"min": "0.01", "max": "0.1"},
            }
        ],
        "trialTemplate": {
            "primaryContainerName": "train",
            "trialParameters": [{"name": "lr", "reference": "lr"}],
            "trialSpec": JOB,
        },
        **spec,
    }
    return {
        "apiVersion": EXPERIMENTS.api_version,
        "kind": EXPERIMENTS.kind,
        "metadata": {"name": "search", "namespace": "team"},
        "spec": {key: value for key, value in complete.items() if value is not None},
    }


def admitted(obj: Obj, old: Obj | None = None, find: Find | None = None) -> list[str]:
    """Runs admission in place and returns what it complains about."""
    admission = admissions()[EXPERIMENTS]
    request = AdmissionRequest(EXPERIMENTS, "UPDATE" if old else "CREATE", find=find)
    assert admission.default
    assert admission.validate
    admission.default(obj, request)
    return [str(error) for error in admission.validate(obj, old, request)]


def experiment(**spec: Any) -> Obj:
    """An experiment as stored."""
    obj = manifest(**spec)
    assert admitted(obj) == []
    obj["metadata"]["uid"] = "experiment-uid"
    return obj


def trial(name: str, phase: str = "Running", loss: float | None = None, lr: str = "0.05") -> Obj:
    """A trial in a phase, with an observation where a loss is given."""
    status: Obj = {"conditions": [{"type": phase, "status": "True", "message": f"it is {phase}"}]}
    if loss is not None:
        value = str(loss)
        status["observation"] = {
            "metrics": [{"name": "loss", "min": value, "max": value, "latest": value}]
        }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"{name}-uid",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"parameterAssignments": [{"name": "lr", "value": lr}]},
        "status": status,
    }


def suggestion(*names: str, requests: int = 0) -> Obj:
    """A suggestion that proposed a point for each name."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Suggestion",
        "metadata": {"name": "search", "namespace": "team", "uid": "suggestion-uid"},
        "spec": {"requests": requests or len(names)},
        "status": {
            "suggestions": [
                {"name": name, "parameterAssignments": [{"name": "lr", "value": "0.05"}]}
                for name in names
            ]
        },
    }
