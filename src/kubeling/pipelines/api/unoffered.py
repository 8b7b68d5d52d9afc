"""Operations of upstream's API that do nothing here, each with what takes its place."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.pipelines.api.errors import UnimplementedError

__all__ = ["UNOFFERED", "refusal"]

_REPORTS: Final = (
    "runs are carried out by the platform itself, which knows how they are: there is no agent that "
    "reports workflows to it"
)
UNOFFERED: Final = (
    ("POST", "/apis/v2beta1/workflows", _REPORTS),
    ("POST", "/apis/v2beta1/scheduledworkflows", _REPORTS),
    (
        "POST",
        "/apis/v2beta1/visualizations/{namespace}",
        "there is no visualization server: GET /apis/v2beta1/artifacts/{artifact_id}/preview has "
        "what a page needs to draw an artifact",
    ),
    (
        "*",
        "/apis/v1beta1/{rest:.*}",
        "of v1beta1 only /apis/v1beta1/healthz is served: use kfp 2, whose API is v2beta1",
    ),
)
"""Method, path, reason."""


def refusal(request: web.Request, reason: str) -> UnimplementedError:
    """The error for an operation that is not offered."""
    return UnimplementedError(f"{request.method} {request.path} is not offered: {reason}")
