"""The InferenceService of a model on disk.

The files' digest is an annotation of the pods: a model saved again in its place is a new revision,
and one that is the same is none. The earlier revision keeps the files that it had.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from kubeling.cli.errors import CliError
from kubeling.kube.objects import Obj
from kubeling.serving.names import MODEL_DIGEST, STOP
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["Served", "changed", "is_served", "name_of", "new_service"]

_LONGEST: Final = 40


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What is served, and how."""

    uri: str
    format_name: str
    digest: str = ""
    canary: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None


def new_service(name: str, served: Served) -> Obj:
    """An InferenceService."""
    return {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": {"name": name},
        "spec": {"predictor": {k: v for k, v in _predictor(served).items() if v is not None}},
    }


def changed(before: Obj, served: Served) -> Obj:
    """The merge patch that serves another model; what else was set stays as it is.

    Who serves a model wants it to run: a service that was stopped goes on.
    """
    predictor = before["spec"]["predictor"]
    if not predictor.get("model"):
        raise CliError(
            f"{before['metadata']['name']} is served by containers of its own",
            "Choose another --name.",
        )
    return {
        "metadata": {"annotations": {STOP: None}},
        "spec": {"predictor": _predictor(served)},
    }


def is_served(isvc: Obj, served: Served) -> bool:
    """Whether the service has this model already."""
    predictor = isvc["spec"]["predictor"]
    model = predictor.get("model") or {}
    digest = (predictor.get("annotations") or {}).get(MODEL_DIGEST, "")
    has = ((model.get("modelFormat") or {}).get("name"), model.get("storageUri"), digest)
    return has == (served.format_name, served.uri, served.digest)


def _predictor(served: Served) -> Obj:
    found: Obj = {
        "model": {"modelFormat": {"name": served.format_name}, "storageUri": served.uri},
        "canaryTrafficPercent": served.canary,
    }
    if served.digest:
        found["annotations"] = {MODEL_DIGEST: served.digest}
    if served.min_replicas is not None:
        found["minReplicas"] = served.min_replicas
    if served.max_replicas is not None:
        found["maxReplicas"] = served.max_replicas
    return found


def name_of(text: str) -> str:
    """A name for the model at a path or address: ``My Model/`` becomes ``my-model``."""
    last = text.rstrip("/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    word = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    word = word if word[:1].isalpha() else f"model-{word}".rstrip("-")
    return word[:_LONGEST].rstrip("-")
