"""The registry's kinds of entities, as one table: names, parents, states, required fields.

Upstream keeps all of them in the same few tables as well (ML Metadata's contexts, artifacts and
executions); what differs between kinds is data, not code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ARTIFACT_TYPES", "ENTITIES", "Entity"]

_LIFE: Final = ("LIVE", "ARCHIVED")
ARTIFACT_TYPES: Final = (
    "model-artifact",
    "doc-artifact",
    "dataset-artifact",
    "metric",
    "parameter",
)


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind: ``singular`` and ``plural`` are its paths.

    ``parent`` is the kind it belongs to and ``parent_field`` the field that names it; names are
    unique within the parent. ``state_field`` holds one of ``states``, at first the first.
    """

    singular: str
    plural: str
    title: str
    parent: str = ""
    parent_field: str = ""
    state_field: str = "state"
    states: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    named: bool = True


ENTITIES: Final = {
    entity.singular: entity
    for entity in (
        Entity("registered_model", "registered_models", "RegisteredModel", states=_LIFE,
               required=("name",)),
        Entity("model_version", "model_versions", "ModelVersion", "registered_model",
               "registeredModelId", states=_LIFE, required=("name", "registeredModelId")),
        Entity("artifact", "artifacts", "Artifact", "", "", states=(
            "UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED", "ABANDONED",
            "REFERENCE"), named=False),
        Entity("serving_environment", "serving_environments", "ServingEnvironment",
               required=("name",)),
        Entity("inference_service", "inference_services", "InferenceService",
               "serving_environment", "servingEnvironmentId", "desiredState",
               ("DEPLOYED", "UNDEPLOYED"), ("registeredModelId", "servingEnvironmentId"),
               named=False),
        Entity("serve_model", "serves", "ServeModel", "inference_service", "",
               "lastKnownState", ("UNKNOWN", "NEW", "RUNNING", "COMPLETE", "FAILED", "CACHED",
                                  "CANCELED"), ("modelVersionId",), named=False),
        Entity("experiment", "experiments", "Experiment", states=_LIFE, required=("name",)),
        Entity("experiment_run", "experiment_runs", "ExperimentRun", "experiment",
               "experimentId", states=_LIFE, required=("experimentId",), named=False),
    )
}  # fmt: skip
