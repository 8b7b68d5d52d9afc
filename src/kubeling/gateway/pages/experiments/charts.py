"""An experiment's charts, drawn from its study. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from kubeling.gateway.drawing.contour import BANDS, draw_contour
from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.drawing.network import draw_network
from kubeling.gateway.drawing.parallel import Axis, Line, draw_parallel
from kubeling.gateway.drawing.plane import Plane, Scale
from kubeling.gateway.drawing.scatter import Dot, draw_scatter
from kubeling.gateway.pages.experiments.source import trial_link
from kubeling.gateway.trials.architecture import Network
from kubeling.gateway.trials.model import Goal, Study, Trial
from kubeling.gateway.trials.pareto import front
from kubeling.gateway.trials.surface import bands, surface

__all__ = ["contour", "curves", "drawn_networks", "history", "parallel", "pareto", "slices"]

_CELLS = 40


def history(study: Study) -> Markup:
    """The objective by trial, and the best so far as a staircase."""
    goal = study.goal
    measured = study.measured
    values = [trial.metrics[goal.metric] for trial in measured]
    if not values:
        return Markup("")
    steps: list[tuple[float, float]] = []
    for trial, value in zip(measured, values, strict=True):
        if not steps or goal.better(value, steps[-1][1]):
            steps.append((trial.number, value))
    steps.append((len(study.trials), steps[-1][1]))
    plane = Plane(
        Scale.of([1, *(t.number for t in study.trials)], whole=True), Scale.of(values), height=260
    )
    dots = [_dot(study, trial, goal, trial.number) for trial in measured]
    return draw_scatter(plane, dots, "trial", goal.metric, steps=steps)


def parallel(study: Study) -> Markup:
    """Parallel coordinates of the trials that were measured."""
    goal, measured = study.goal, study.measured
    if not measured or not study.names:
        return Markup("")
    ranks = _ranks(measured, goal)
    lines = [
        Line(
            trial.name,
            {**trial.parameters, goal.metric: f"{trial.metrics[goal.metric]:.6g}"},
            trial.name == study.best_name,
            ranks[trial.name],
            trial_link(study, trial.name),
        )
        for trial in measured
    ]
    values = [trial.metrics[goal.metric] for trial in measured]
    axes = [Axis(name, study.scale(name)) for name in study.names]
    return draw_parallel(lines, [*axes, Axis(goal.metric, Scale(min(values), max(values)))])


def _ranks(trials: Sequence[Trial], goal: Goal) -> dict[str, int]:
    """From 0 for the best fifth to 4 for the worst."""
    sign = 1 if goal.direction == "minimize" else -1
    order = sorted(trials, key=lambda trial: sign * trial.metrics[goal.metric])
    return {trial.name: place * 5 // len(order) for place, trial in enumerate(order)}


def drawn_networks(networks: Sequence[Network]) -> list[tuple[str, Markup]]:
    """Networks of an architecture search with their titles."""
    return [(network.title, draw_network(network)) for network in networks]


def curves(
    study: Study, metric: str, readings: Mapping[str, Sequence[tuple[float, float]]], *, log: bool
) -> Markup:
    """What the trials measured, reading by reading; what runs and the best stand out."""
    drawn = [
        Curve(
            trial.name,
            [(place, value) for place, (_, value) in enumerate(found, 1)],
            trial.name == study.best_name or not trial.final,
            trial_link(study, trial.name),
        )
        for trial in study.trials
        if (found := readings.get(trial.name))
    ]
    return draw_curves(drawn, "reading", metric, log=log)


def contour(study: Study, goal: Goal, across: str, up: str) -> Markup:
    """The objective over two parameters."""
    measured = [t for t in study.trials if t.measured and goal.metric in t.metrics]
    plane = Plane(study.scale(across), study.scale(up), height=420)
    points = []
    for trial in measured:
        x = plane.x.place(trial.parameters.get(across, ""))
        y = plane.y.place(trial.parameters.get(up, ""))
        if x is not None and y is not None:
            points.append((x, y, trial.metrics[goal.metric]))
    columns, rows = (len(s.categories) or _CELLS for s in (plane.x, plane.y))
    grid = bands(surface(points, columns, rows), BANDS, less_is_better=goal.direction == "minimize")
    dots = [
        _dot(study, trial, goal, trial.parameters.get(across, ""), trial.parameters.get(up, ""))
        for trial in measured
    ]
    return draw_contour(plane, grid, dots, across, up)


def slices(study: Study, goal: Goal) -> list[tuple[str, Markup]]:
    """The objective by each parameter alone."""
    measured = [t for t in study.trials if t.measured and goal.metric in t.metrics]
    values = [trial.metrics[goal.metric] for trial in measured]
    found = []
    for name in study.names if values else ():
        plane = Plane(study.scale(name), Scale.of(values), width=420, height=240)
        dots = [_dot(study, t, goal, t.parameters.get(name, "")) for t in measured]
        found.append((name, draw_scatter(plane, dots, name, goal.metric)))
    return found


def pareto(study: Study, one: Goal, other: Goal) -> tuple[Markup, list[Trial]]:
    """Two objectives against each other, and the trials that no other beats in all of them."""
    goals = [one, other]
    best = front(study.trials, goals)
    both = [t for t in study.trials if t.measured and all(g.metric in t.metrics for g in goals)]
    if not both:
        return Markup(""), []
    names = {trial.name for trial in best}
    plane = Plane(
        Scale.of(trial.metrics[one.metric] for trial in both),
        Scale.of(trial.metrics[other.metric] for trial in both),
        height=360,
    )
    dots = [
        Dot(
            trial.metrics[one.metric],
            trial.metrics[other.metric],
            f"{trial.name}: {one.metric} = {trial.metrics[one.metric]:.6g}, "
            f"{other.metric} = {trial.metrics[other.metric]:.6g}",
            "best" if trial.name in names else "",
            trial_link(study, trial.name),
        )
        for trial in sorted(both, key=lambda t: t.name in names)
    ]
    return draw_scatter(plane, dots, one.metric, other.metric), best


def _dot(
    study: Study, trial: Trial, goal: Goal, x: float | str, y: float | str | None = None
) -> Dot:
    value = trial.metrics[goal.metric]
    given = ", ".join(f"{name} = {text}" for name, text in trial.parameters.items())
    return Dot(
        x,
        value if y is None else y,
        f"{trial.name}: {goal.metric} = {value:.6g} with {given}",
        "best" if trial.name == study.best_name else trial.state,
        trial_link(study, trial.name),
    )
