"""An experiment's trials as a table for other programs. Pure."""

from __future__ import annotations

import csv
import io

from kubeling.gateway.trials.model import Study

__all__ = ["table_of"]


def table_of(study: Study) -> str:
    """A row for each trial, in CSV."""
    metrics = [goal.metric for goal in study.goals]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["number", "trial", "state", "seconds", *metrics, *study.names, "message"])
    for trial in study.trials:
        took = (
            f"{trial.finished - trial.started:g}"
            if trial.started is not None and trial.finished is not None
            else ""
        )
        row = [str(trial.number), trial.name, trial.state, took]
        row += [str(trial.metrics.get(metric, "")) for metric in metrics]
        row += [_harmless(trial.parameters.get(parameter, "")) for parameter in study.names]
        writer.writerow([*row, _harmless(trial.message)])
    return text.getvalue()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula; numbers stay numbers."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text[1:2] not in tuple(".0123456789"):
        return f"'{text}"
    return text
