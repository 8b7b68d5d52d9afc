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
from kubeling.monitoring.metrics import Counter, Histogram
from kubeling.pipelines.api.errors import ApiFailure

__all__ = ["counted"]

_LABELS: Final = ("grpc_service", "grpc_method", "grpc_type")
_HANDLED: Final = Counter(
    "grpc_server_handled_total", "Operations of the pipelines API.", (*_LABELS, "grpc_code")
)
_SECONDS: Final = Histogram(
    "grpc_server_handling_seconds", "Seconds that operations of the pipelines API took.", _LABELS
)
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


@contextmanager
def counted(service: str, name: str) -> Iterator[None]:
    """Counts what is done within, and how long it takes."""
    labels = (*_names(service, name), "unary")
    code, begun = "OK", time.perf_counter()
    try:
        yield
    except ApiFailure as error:
        code = _CODES.get(error.code, "Internal")
        raise
    except ApiError as error:
        code = _FROM_HTTP.get(error.status_code, "Internal")
        raise
    except BaseException:
        code = "Internal"
        raise
    finally:
        _HANDLED.add(*labels, code)
        _SECONDS.observe(time.perf_counter() - begun, *labels)


def _names(service: str, name: str) -> tuple[str, str]:
    """Upstream's service and method for an endpoint of ours."""
    shown, noun = _SERVICES.get(service, ("PipelineService", ""))
    method = _METHODS.get((service, name))
    if method is None:
        verb = "".join(part.title() for part in name.split("_"))
        method = f"{verb}{noun}s" if name == "list" else f"{verb}{noun}"
    return f"{_PACKAGE}.{shown}", method
