"""What models predict together, and what waits for it, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from kubeling.serving.server.model import Model
from kubeling.serving.server.quick import QuickModel

__all__ = ["batch_metrics"]


def batch_metrics(models: Mapping[str, Model]) -> str:
    """The series of the models that have batches; nothing if none has."""
    found = [
        (name, batches)
        for name, model in models.items()
        if isinstance(model, QuickModel) and (batches := model.batches) is not None
    ]
    if not found:
        return ""
    lines = [
        "# HELP kubeling_batch_rows Rows that were predicted together",
        "# TYPE kubeling_batch_rows histogram",
        *(line for name, b in found for line in b.rows.lines("kubeling_batch_rows", name)),
        "# HELP kubeling_requests_waiting Requests that wait for the prediction before theirs",
        "# TYPE kubeling_requests_waiting gauge",
        *(f'kubeling_requests_waiting{{model_name="{name}"}} {b.waiting}' for name, b in found),
    ]
    return "\n".join(lines) + "\n"
