"""What upstream's API server counts: its operations by service, method and code.

The names are those of the gRPC middleware that upstream uses, and of its services and methods, so
that its dashboards and alerts (``backend/src/apiserver/api-server-metrics.md``) find them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kubeling.kube.errors import ApiError
from kubeling.monitoring.registry import Registry
from kubeling.pipelines.api.errors import ApiFailure

__all__ = ["counted", "declare_metrics"]

_HANDLED: Final = "grpc_server_handled_total"
_SECONDS: Final = "grpc_server_handling_seconds"
_PACKAGE: Final = "kubeflow.pipelines.backend.api.v2beta1"
_SERVICES: Final = {
    "experiments": ("ExperimentService", "Experiment"),
    "pipelines": ("PipelineService", "Pipeline"),
    "versions": ("PipelineService", "PipelineVersion"),
    "runs": ("RunService", "Run"),
    "tasks": ("RunService", "Task"),
    "recurring_runs": ("RecurringRunService", "RecurringRun"),
    "artifacts": ("ArtifactService", "Artifact"),
}
_METHODS: Final = {
    ("pipelines", "create_with_version"): "CreatePipelineAndVersion",
    ("pipelines", "get_by_name"): "GetPipelineByName",
    ("artifacts", "list_artifact_tasks"): "ListArtifactTasks",
    ("artifacts", "create_artifact_task"): "CreateArtifactTask",
}
_CODES: Final = {
    3: "InvalidArgument", 5: "NotFound", 6: "AlreadyExists", 7: "PermissionDenied",
    9: "FailedPrecondition", 12: "Unimplemented", 16: "Unauthenticated",
}  # fmt: skip
_FROM_HTTP: Final = {
    400: "InvalidArgument", 401: "Unauthenticated", 403: "PermissionDenied", 404: "NotFound",
    409: "Aborted", 422: "InvalidArgument", 503: "Unavailable",
}  # fmt: skip


def declare_metrics(metrics: Registry) -> None:
    """Has the registry know what :func:`counted` counts."""
    metrics.declare(_HANDLED, "Operations of the pipelines API.", "counter")
    metrics.declare(_SECONDS, "Seconds that operations of the pipelines API took.", "histogram")


@contextmanager
def counted(metrics: Registry, service: str, name: str) -> Iterator[None]:
    """Counts what is done within, and how long it takes."""
    grpc_service, method = _names(service, name)
    labels = {"grpc_service": grpc_service, "grpc_method": method, "grpc_type": "unary"}
    code, begun = "Internal", time.perf_counter()
    try:
        yield
        code = "OK"
    except ApiFailure as error:
        code = _CODES.get(error.code, code)
        raise
    except ApiError as error:
        code = _FROM_HTTP.get(error.status_code, code)
        raise
    finally:
        metrics.add(_HANDLED, {**labels, "grpc_code": code}, 1)
        metrics.observe(_SECONDS, labels, time.perf_counter() - begun)


def _names(service: str, name: str) -> tuple[str, str]:
    """Upstream's service and method for an endpoint of ours."""
    shown, noun = _SERVICES.get(service, ("PipelineService", ""))
    method = _METHODS.get((service, name))
    if method is None:
        verb = "".join(part.title() for part in name.split("_"))
        method = f"{verb}{noun}s" if name == "list" else f"{verb}{noun}"
    return f"{_PACKAGE}.{shown}", method
