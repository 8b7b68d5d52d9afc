"""What is kept of an experiment's trials is what a look at all of them would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.tuning.experiments import experiment, trial

from kubeling.kube.objects import Obj, name
from kubeling.tuning.history import INDEX, History, Remembered
from kubeling.tuning.tally import Tally
from kubeling.tuning.trial_status import TrialPhase

PHASES = ("Created", "Running", "Succeeded", "Failed", "EarlyStopped", "MetricsUnavailable")
OBJECTIVES = {
    "type": "minimize",
    "objectiveMetricName": "loss",
    "additionalMetricNames": ["size"],
    "metricStrategies": [{"name": "loss", "value": "min"}, {"name": "size", "value": "min"}],
}


def made(number: int, phase: str, loss: float | None, size: int, deleted: bool) -> Obj:
    found = trial(f"t{number}", phase, loss, lr=str(number))
    found["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:0{number % 3}Z"
    found["metadata"]["labels"] = {INDEX: str(number // 2)}
    if deleted:
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    if loss is not None:
        measured = {"name": "size", "min": str(size), "max": str(size), "latest": str(size)}
        found["status"]["observation"]["metrics"].append(measured)
    return found


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.none()
        | st.tuples(
            st.sampled_from(PHASES),
            st.none() | st.sampled_from([0.1, 0.2, 0.3]),
            st.integers(1, 3),
            st.booleans(),
        ),
    ),
    max_size=25,
)


def described(tally: Tally) -> dict[str, Any]:
    return {
        "phases": {phase: tally.names(phase) for phase in TrialPhase},
        "known": sorted(tally.known),
        "counts": (tally.total, tally.ended, tally.without_value),
        "best": name(tally.best) if tally.best else None,
        "front": tally.front(),
    }


@given(CHANGES)
def test_a_tally_is_the_same_whatever_came_before(changes: list[tuple[int, Any]]) -> None:
    settings = [{"name": "objectives", "value": "size"}]
    algorithm = {"algorithmName": "nsga2", "algorithmSettings": settings}
    spec = experiment(objective=OBJECTIVES, algorithm=algorithm)["spec"]
    tally, history, there = Tally(spec), History(), {}
    for number, change in changes:
        if change is None:
            there.pop(number, None)
            tally.remove(f"t{number}")
            history.update(spec, {f"t{number}": None})
        else:
            there[number] = made(number, *change)
            tally.put(there[number])
            history.update(spec, {f"t{number}": there[number]})
        described(tally)
    assert described(tally) == described(Tally.of(there.values(), spec))
    points = [{"name": f"t{number}", "labels": {INDEX: str(number // 2)}} for number in (1, 3, 9)]
    whole = Remembered().past(spec, points, there.values())
    assert history.past(points) == whole
    assert history.next_index(points) == 5
    assert set(history.names) == {f"t{number}" for number in there}
