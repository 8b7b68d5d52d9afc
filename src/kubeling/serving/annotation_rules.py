"""Annotations of InferenceServices that are spelt wrongly: they change nothing, and say nothing.

Nobody else writes below ``serving.kubeling.io/``, so what is not known there is a mistake. Below
``serving.kserve.io/`` others have annotations of their own, and only what is almost one that counts
is taken for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, mapping
from kubeling.serving import names

__all__ = ["warn_of_annotations"]

_OWN: Final = "serving.kubeling.io/"
_UPSTREAM: Final = "serving.kserve.io/"
_KNOWN: Final = (
    names.CONVERT_TO_ONNX,
    names.LOG_FAILURES,
    names.MONITORING,
    names.REQUEST_LOG,
    names.RETRAIN,
    names.RETRAINED,
    names.ROLLBACK_DRIFT,
    names.ROLLBACK_ERROR_RATE,
    names.ROLLBACK_P99,
)
_OF_UPSTREAM: Final = (
    names.AUTOSCALER_CLASS,
    names.DEPLOYMENT_MODE,
    names.STOP,
    *(
        f"{_UPSTREAM}{title}"
        for title in (
            "disable-auto-update",
            "disable-localmodel",
            "enable-prometheus-scraping",
            "enable-tag-routing",
            "metrics",
            "nodegroup",
            "storage-initializer-uid",
            "storageSecretName",
            "targetUtilizationPercentage",
        )
    ),
)
_LIKE: Final = 0.6
_ALMOST: Final = 0.85


def warn_of_annotations(obj: Obj, request: AdmissionRequest) -> Iterator[str]:
    """Names those that are new, with what was probably meant."""
    before = mapping(mapping(mapping(request.old).get("metadata")).get("annotations"))
    for key in mapping(obj["metadata"].get("annotations")):
        if key in before or key in _KNOWN or key in _OF_UPSTREAM:
            continue
        meant = ""
        if key.startswith(_OWN):
            meant = _meant(key, _KNOWN, _LIKE)
        elif key.startswith(_UPSTREAM):
            meant = _meant(key, _OF_UPSTREAM, _ALMOST)
        if meant or key.startswith(_OWN):
            yield f"metadata.annotations[{key}]: has no effect{meant}"


def _meant(key: str, known: tuple[str, ...], cutoff: float) -> str:
    titles = {title.partition("/")[2].lower(): title for title in known}
    close = difflib.get_close_matches(key.partition("/")[2].lower(), titles, 1, cutoff)
    return f"; did you mean {titles[close[0]]}?" if close else ""
