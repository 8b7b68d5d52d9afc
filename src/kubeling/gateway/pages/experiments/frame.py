"""The frame of an experiment's pages: its head, what can be done, and the tabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.pages.experiments.source import Found, trial_link
from kubeling.gateway.pages.view import Views
from kubeling.gateway.trials.model import Goal, Study, Trial

__all__ = ["goal_of", "of_trials", "recent", "tab_page"]

_DRAWN: Final = 1000
"""Trials in a chart of lines; of more the latest are drawn."""
_TABS: Final[tuple[tuple[str, str], ...]] = (
    ("", "Trials"),
    ("curves", "Curves"),
    ("insight", "Insight"),
    ("details", "Events and YAML"),
)


def tab_page(
    views: Views,
    request: web.Request,
    found: Found,
    tab: str,
    *,
    live: bool = True,
    **values: Any,
) -> web.Response:
    """One of the tabs; a page that is not ``live`` stays as it is until it is asked for again."""
    study, experiment = found.study, found.experiment
    return views.page(
        request,
        f"experiment{'_' + tab if tab else ''}.html",
        "/experiments",
        study.name,
        (found.resource, study.trial_kind) if live else (),
        stream=f"{found.base}/live" if live and not study.final else "",
        obj=experiment,
        study=study,
        base=found.base,
        tab=tab,
        tabs=[entry for entry in _TABS if found.is_katib or entry[0] != "curves"],
        is_katib=found.is_katib,
        trial_link=lambda trial: trial_link(study, trial),
        may_grow=found.is_katib and (not study.final or _may_restart(found)),
        **values,
    )


def _may_restart(found: Found) -> bool:
    """Whether an experiment that has ended may be given more trials."""
    reasons = [
        c.get("reason")
        for c in (found.experiment.get("status") or {}).get("conditions") or ()
        if c.get("type") == "Succeeded" and c.get("status") == "True"
    ]
    policy = found.experiment["spec"].get("resumePolicy")
    return reasons == ["ExperimentMaxTrialsReached"] and policy in ("LongRunning", "FromVolume")


def goal_of(study: Study, metric: str) -> Goal:
    """The goal about a metric, else the objective."""
    return next((goal for goal in study.goals if goal.metric == metric), study.goal)


def recent(study: Study, most: int = _DRAWN) -> Study:
    """The study with its latest trials and its best only."""
    if len(study.trials) <= most:
        return study
    kept = study.trials[-most:]
    best = [study.best] if study.best and study.best not in kept else []
    return of_trials(study, [*best, *kept])


def of_trials(study: Study, trials: Sequence[Trial]) -> Study:
    """The study with some of its trials only."""
    return replace(study, trials=trials)
