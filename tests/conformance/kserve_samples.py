"""KServe's samples, each asked of the platform's admission as ``kubectl apply`` would.

``docs/samples`` of kserve/kserve. A file passes if all its objects of KServe's groups are taken, in
a dry run; files without any, and those that are no manifests, are not among the cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml
from tests.conformance.rows import Case, Platform, Row

__all__ = ["cases", "run"]

_GROUPS: Final = ("serving.kserve.io/", "serving.kubeflow.org/")
_UNKNOWN: Final = "unknown field"
_REFUSED: Final = {
    "explanation/aif/germancredit/bias-v1alpha1.yaml": "no matches for kind",
    "explanation/alibi/*": _UNKNOWN,
    "llmisvc/kv-cache-offloading/*": _UNKNOWN,
    "llmisvc/latency-predictor/*": "invalid type",
    "multimodelserving/sklearn/inferenceservice.yaml": "Forbidden",
    "rollout-strategy/rollout-strategy-example.yaml": _UNKNOWN,
    "storage/pvc/mnist-pvc.yaml": "no matches for kind",
    "v1beta1/torchserve/v1/bloom/bloom-560m.yaml": _UNKNOWN,
}
"""Those that upstream of this day refuses, too: fields and versions that it has left."""

_SKIPPED: Final = {
    "gcp-iap/*": "its namespace is a placeholder for one's own",
    "v1beta1/transformer/feast/driver_transformer_modelmesh.yaml": "needs ModelMesh",
}


def cases(upstream: Path) -> list[Case]:
    """Every file with an object of KServe's."""
    root = upstream / "kserve" / "docs" / "samples"
    return [
        Case(
            name := str(path.relative_to(root)),
            f"kserve samples: {path.relative_to(root).parts[0]}",
            path,
            message=_said_of(name, _REFUSED),
            skip=_said_of(name, _SKIPPED),
            text=json.dumps(found),
        )
        for path in sorted([*root.rglob("*.yaml"), *root.rglob("*.yml")])
        if (found := _objects(path))
    ]


def _said_of(name: str, patterns: Mapping[str, str]) -> str:
    return next((said for pattern, said in patterns.items() if fnmatchcase(name, pattern)), "")


def _objects(path: Path) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError:
        return []
    return [
        one
        for one in documents
        if isinstance(one, dict) and str(one.get("apiVersion")).startswith(_GROUPS)
    ]


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Asks for each; a row for each, in their order."""
    for namespace in sorted(_namespaces(chosen)):
        platform.kubectl("create", "namespace", namespace)
    for case in chosen:
        if case.skip:
            yield Row(case.name, case.group, "not runnable", case.skip)
            continue
        objects = [_created(one) for one in json.loads(case.text)]
        asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        said = platform.kubectl("create", "--dry-run=server", "-f", "-", stdin=asked)
        refused = said.stderr.strip() if said.returncode else ""
        if case.message and case.message in refused:
            yield Row(case.name, case.group, "passed", f"refused as at upstream: {case.message}")
        else:
            yield Row(case.name, case.group, "failed" if refused else "passed", refused[:300])


def _created(obj: dict[str, Any]) -> dict[str, Any]:
    """As it is before it is there: samples taken from a cluster say what that one added."""
    added = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
    metadata = {k: v for k, v in obj["metadata"].items() if k not in added}
    return {**obj, "metadata": metadata}


def _namespaces(chosen: Sequence[Case]) -> set[str]:
    found = {obj["metadata"].get("namespace") for case in chosen for obj in json.loads(case.text)}
    return {name for name in found if name} - {"default", "kube-system"}
