"""The ConfigMap of trial templates that a Katib installation brings.

Upstream: ``manifests/v1beta1/components/controller/trial-templates.yaml``. Experiments refer to it
by name, and upstream's UI offers every ConfigMap with its label.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES

__all__ = ["LABEL", "trial_templates"]

LABEL: Final = "katib.kubeflow.org/component"
_NAMESPACE: Final = "kubeflow"
_NAME: Final = "trial-templates"
_IMAGE: Final = "ghcr.io/kubeflow/katib/pytorch-mnist-cpu:latest"
_TRAIN: Final = (
    'command: [python3, /opt/pytorch-mnist/mnist.py, --epochs=1, "--lr=${trialParameters.'
    'learningRate}", "--momentum=${trialParameters.momentum}"]'
)
_JOB: Final = f"""\
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: training-container
          image: {_IMAGE}
          {_TRAIN}
"""
_PYTORCH_JOB: Final = f"""\
apiVersion: kubeflow.org/v1
kind: PyTorchJob
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      restartPolicy: OnFailure
      template:
        spec:
          containers:
            - name: pytorch
              image: {_IMAGE}
              {_TRAIN}
    Worker:
      replicas: 2
      restartPolicy: OnFailure
      template:
        spec:
          containers:
            - name: pytorch
              image: {_IMAGE}
              {_TRAIN}
"""


def trial_templates() -> list[Obj]:
    """The ConfigMap, and the namespace it lies in."""
    return [
        new_object(NAMESPACES, _NAMESPACE),
        new_object(
            CONFIG_MAPS,
            _NAME,
            _NAMESPACE,
            labels={LABEL: _NAME},
            data={"defaultTrialTemplate.yaml": _JOB, "pytorchJobTemplate": _PYTORCH_JOB},
        ),
    ]
