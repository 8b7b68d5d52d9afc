"""What is said at the end of a search: what came of it, how to repeat it, why trials failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubeling.cli.tuning.search import Search
from kubeling.cli.tuning.view import short
from kubeling.gateway.trials.model import Study

__all__ = ["result", "tell"]


def result(search: Search, study: Study, page: str) -> dict[str, Any]:
    """What programs are told."""
    best = study.best
    return {
        "name": study.name,
        "namespace": study.namespace,
        "state": study.state,
        "message": study.message,
        "page": page,
        "trials": dict(study.counts),
        "best": None
        if best is None
        else {
            "trial": best.name,
            "metrics": dict(best.metrics),
            "parameters": dict(best.parameters),
            "command": search.command(best.name),
        },
    }


def tell(search: Search, study: Study, say: Callable[..., None]) -> None:
    """The end: what came of it, the best with how to repeat it, and why trials failed."""
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items())
    # Katib's experiments succeed when the search is over, even if it found nothing.
    state = "found nothing" if study.best is None and study.state == "succeeded" else study.state
    told = f"experiment {study.name} {state}" + (f": {counts}" if counts else "")
    say(told, "red" if study.best is None else "")
    if study.state == "failed" and study.message:
        say(study.message, "red")
    bad = [t for t in study.trials if t.state in ("failed", "unavailable")]
    if bad:
        said = bad[0].message.partition("\n")[0]
        say(f"✗ {bad[0].name}: {said}" if said else f"✗ {bad[0].name}", "red")
        say(f"  More: kubeling why trial/{bad[0].name} -n {study.namespace}")
    if study.best is None:
        return
    goal = study.goal
    say(f"best: {goal.metric} = {short(study.best.metrics.get(goal.metric))} in {study.best.name}")
    if command := search.command(study.best.name):
        say(f"  {command}", "bold")
