"""The errors of ``kserve.errors``, with upstream's arguments and words."""

from __future__ import annotations

from typing import Any

from kubeling.serving.server import errors
from kubeling.serving.server.errors import InvalidInput

__all__ = [
    "InferenceError",
    "InvalidInput",
    "ModelMissingError",
    "ModelNotFound",
    "ModelNotReady",
    "NoModelReady",
    "ServerNotReady",
]


class ModelMissingError(errors.ModelLoadError):
    """A model's files are not where they should be."""

    def __init__(self, path: Any) -> None:
        super().__init__(str(path))
        self.path = path


class InferenceError(errors.InferenceError):
    """The model failed on this request."""

    def __init__(
        self, reason: str, status: str | None = None, debug_details: Any | None = None
    ) -> None:
        super().__init__(reason if status is None else f"[{status}] {reason}")
        self.reason = reason
        self.status = status
        self.debug_details = debug_details


class ModelNotFound(errors.ModelNotFound):
    """There is no model of that name."""

    def __init__(self, model_name: str | None = None) -> None:
        super().__init__(f"Model with name {model_name} does not exist.")


class ModelNotReady(errors.ModelNotReady):
    """A model is not loaded yet."""

    def __init__(self, model_name: str, detail: str | None = None) -> None:
        more = f" {detail}" if detail else ""
        super().__init__(f"Model with name {model_name} is not ready.{more}")


class ServerNotReady(errors.ModelNotReady):
    """The server cannot answer yet."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(f"Server is not ready.{f' {detail}' if detail else ''}")


class NoModelReady(RuntimeError):
    """A server was started with no model that is ready."""

    def __init__(self, models: list[Any], detail: str | None = None) -> None:
        names = ", ".join(model.name for model in models)
        what = "Model with name {} is" if len(models) == 1 else "Models with name {} are"
        advice = detail or "Does load() set self.ready, and is it called?"
        super().__init__(f"{what.format(names)} not ready. {advice}")
        self.models = models
