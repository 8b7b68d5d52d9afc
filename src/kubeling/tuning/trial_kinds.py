"""What is known about the kinds trials are usually made of: how their end shows, which pod counts.

Any other kind works too; its conditions must then be stated in the trial template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["TrialKind", "trial_kind"]


def _condition(type_: str) -> str:
    return f'status.conditions.#(type=="{type_}")#|#(status=="True")#'


@dataclass(frozen=True, slots=True)
class TrialKind:
    """The defaults a trial template of one kind gets."""

    success: str
    failure: str
    primary_pod_labels: Mapping[str, str] = field(default_factory=dict)


_MASTER: Final = {"training.kubeflow.org/job-role": "master"}
_TRAINING: Final = TrialKind(_condition("Succeeded"), _condition("Failed"), _MASTER)
_KINDS: Final[dict[tuple[str, str], TrialKind]] = {
    ("batch", "Job"): TrialKind(_condition("Complete"), _condition("Failed")),
    **{
        ("kubeflow.org", kind): _TRAINING
        for kind in ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob", "PaddleJob", "JAXJob")
    },
    ("trainer.kubeflow.org", "TrainJob"): TrialKind(
        _condition("Complete"),
        _condition("Failed"),
        {
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "batch.kubernetes.io/job-completion-index": "0",
        },
    ),
    ("argoproj.io", "Workflow"): TrialKind(
        'status.[@this].#(phase=="Succeeded")#',
        'status.[@this].#(phase%"[FE][ar][ir]*")#',
    ),
}


def trial_kind(trial_spec: Any) -> TrialKind | None:
    """What is known about the kind of an object, if anything."""
    if not isinstance(trial_spec, dict):
        return None
    group, slash, _ = str(trial_spec.get("apiVersion", "")).partition("/")
    return _KINDS.get((group if slash else "", str(trial_spec.get("kind", ""))))
