"""Which metrics of a run have a history."""

from __future__ import annotations

from kubeling.gateway.pages.histories import histories_of, values_of


def test_metrics_logged_again_and_again_have_a_history() -> None:
    logged = [{"loss": 1.0, "note": "first"}, {"loss": 0.5}, {"loss": 0.25, "accuracy": 0.9}]
    assert histories_of(logged) == {"loss": [(0, 1.0), (1, 0.5), (2, 0.25)]}
    assert values_of(logged) == {"loss": "0.25", "note": "first", "accuracy": "0.9"}


def test_a_list_is_a_history_of_values_or_of_steps_and_values() -> None:
    logged = [{
        "loss": [3, 2, 1],
        "f1": [[10, 0.1], [20, 0.2]],
        "auc": [{"step": 5, "value": 0.5}, {"step": 6, "value": 0.75}],
        "words": ["no", "numbers"],
    }]  # fmt: skip
    assert histories_of(logged) == {
        "loss": [(0, 3), (1, 2), (2, 1)],
        "f1": [(10, 0.1), (20, 0.2)],
        "auc": [(5, 0.5), (6, 0.75)],
    }
    assert values_of(logged)["auc"] == "0.75"
