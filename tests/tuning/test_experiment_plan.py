"""What an experiment does next, from its trials and what was proposed."""

from __future__ import annotations

import datetime as dt

from tests.tuning.experiments import experiment, suggestion, trial

from kubeling.kube.objects import Obj, name
from kubeling.tuning.experiment_plan import Plan, plan
from kubeling.tuning.tally import Tally

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def after(of: Obj, trials: list[Obj], proposed: Obj | None = None) -> Plan:
    return plan(of, Tally.of(trials, of["spec"]), proposed, NOW)


def last(found: Plan) -> tuple[str, str]:
    condition = found.status["conditions"][-1]
    return condition["type"], condition["reason"]


def test_a_new_experiment_asks_for_as_many_points_as_may_run_at_once() -> None:
    found = after(experiment(), [])
    assert found.requests == 2
    assert last(found) == ("Created", "ExperimentCreated")


def test_proposed_points_become_trials_in_order() -> None:
    found = after(experiment(), [], suggestion("search-a", "search-b", "search-c"))
    assert [point["name"] for point in found.births] == ["search-a", "search-b"]


def test_a_trial_that_ends_makes_room_for_another() -> None:
    trials = [trial("search-a", "Succeeded", 0.5), trial("search-b")]
    found = after(experiment(), trials, suggestion("search-a", "search-b"))
    assert found.requests == 3
    assert found.births == []


def test_the_last_trials_are_not_exceeded() -> None:
    ended = [trial(f"search-{i}", "Succeeded", 0.5) for i in range(3)]
    found = after(experiment(), [*ended, trial("search-9")])
    assert found.requests is None


def test_the_best_trial_is_the_one_with_the_smallest_loss() -> None:
    trials = [trial("search-a", "Succeeded", 0.5), trial("search-b", "Succeeded", 0.2, lr="0.02")]
    best = after(experiment(), trials).status["currentOptimalTrial"]
    assert best["bestTrialName"] == "search-b"
    assert best["parameterAssignments"] == [{"name": "lr", "value": "0.02"}]


def test_of_trials_that_measure_a_text_the_latest_is_the_best() -> None:
    trials = [trial("search-a", "Succeeded", 0), trial("search-b", "Succeeded", 0)]
    for number, one in enumerate(trials):
        one["status"]["completionTime"] = f"2026-01-01T00:00:0{9 - number}Z"
        for metric in one["status"]["observation"]["metrics"]:
            metric |= {"min": "unavailable", "max": "unavailable", "latest": f"Shape({number})"}
    best = after(experiment(), trials).status["currentOptimalTrial"]
    assert best["bestTrialName"] == "search-a"
    assert best["observation"]["metrics"][0]["latest"] == "Shape(0)"


def test_trials_are_counted_and_listed() -> None:
    trials = [
        trial("search-a", "Succeeded", 0.5),
        trial("search-b", "Failed"),
        trial("search-c", "MetricsUnavailable"),
        trial("search-d", "Running"),
        trial("search-e", "Created"),
    ]
    status = after(experiment(maxTrialCount=9), trials).status
    assert status["trials"] == 5
    assert status["trialsSucceeded"] == 1
    assert status["trialsFailed"] == 1
    assert status["trialMetricsUnavailable"] == 1
    assert status["runningTrialList"] == ["search-d"]
    assert status["pendingTrialList"] == ["search-e"]


def test_the_goal_ends_the_search() -> None:
    goal = {"type": "minimize", "objectiveMetricName": "loss", "goal": 0.3}
    found = after(experiment(objective=goal), [trial("search-a", "Succeeded", 0.29)])
    assert last(found) == ("Succeeded", "ExperimentGoalReached")
    assert found.requests is None


def test_enough_trials_end_the_search_with_the_terminal_condition_last() -> None:
    running = after(experiment(), [trial("search-a")]).status
    ended = [trial(f"search-{i}", "Succeeded", 0.5) for i in range(4)]
    found = after({**experiment(), "status": running}, ended)
    assert last(found) == ("Succeeded", "ExperimentMaxTrialsReached")
    assert {c["type"]: c["status"] for c in found.status["conditions"]} == {
        "Created": "True",
        "Running": "False",
        "Succeeded": "True",
    }


def test_too_many_failures_fail_the_experiment_and_say_why() -> None:
    trials = [trial("search-a", "Failed"), trial("search-b", "MetricsUnavailable")]
    found = after(experiment(maxFailedTrialCount=2), trials)
    assert last(found) == ("Failed", "ExperimentFailed")
    assert "search-a: it is Failed" in found.status["conditions"][-1]["message"]


def test_no_failure_allowed_means_the_first_one_ends_it() -> None:
    assert last(after(experiment(maxFailedTrialCount=0), []))[0] == "Created"
    assert last(after(experiment(maxFailedTrialCount=0), [trial("a", "Failed")]))[0] == "Failed"


def test_an_exhausted_space_ends_the_search() -> None:
    proposed = suggestion("search-a", requests=3)
    proposed["status"]["conditions"] = [
        {"type": "Succeeded", "status": "True", "reason": "ExperimentSuggestionEndReached"}
    ]
    waiting = after(experiment(maxTrialCount=None), [trial("search-a")], proposed)
    assert last(waiting)[0] == "Running"
    found = after(experiment(maxTrialCount=None), [trial("search-a", "Succeeded", 1)], proposed)
    assert last(found) == ("Succeeded", "ExperimentSuggestionEndReached")


def test_lowering_the_parallelism_takes_the_youngest_trials() -> None:
    trials = [trial("search-a"), trial("search-b")]
    found = after(experiment(parallelTrialCount=1), trials)
    assert [name(surplus) for surplus in found.surplus] == ["search-b"]
    assert found.requests == 1


def test_a_finished_experiment_with_a_larger_budget_goes_on() -> None:
    ended = [trial(f"search-{i}", "Succeeded", 0.5) for i in range(4)]
    finished = after(experiment(resumePolicy="LongRunning"), ended).status
    more = {**experiment(resumePolicy="LongRunning", maxTrialCount=6), "status": finished}
    found = after(more, ended)
    assert last(found) == ("Running", "ExperimentRunning")
    assert found.requests == 6
    assert "completionTime" not in found.status


def test_the_same_facts_change_nothing() -> None:
    trials = [trial("search-a", "Succeeded", 0.5), trial("search-b")]
    first = after(experiment(), trials).status
    tally = Tally.of(trials, experiment()["spec"])
    later = plan({**experiment(), "status": first}, tally, None, NOW + dt.timedelta(hours=1))
    assert later.status == first


def test_a_restart_stays_to_be_seen_by_those_who_poll() -> None:
    ended = [trial(f"search-{i}", "Succeeded", 0.5) for i in range(4)]
    finished = after(experiment(resumePolicy="FromVolume"), ended).status
    more = {**experiment(resumePolicy="FromVolume", maxTrialCount=5), "status": finished}
    running = after(more, ended).status
    again = after({**more, "status": running}, [*ended, trial("search-9", "Succeeded", 0.5)])
    types = [c["type"] for c in again.status["conditions"] if c["status"] == "True"]
    assert types == ["Created", "Restarting", "Succeeded"]
    (ran,) = [c for c in again.status["conditions"] if c["type"] == "Running"]
    assert (ran["reason"], ran["message"]) == ("ExperimentRunning", "Experiment is running")
