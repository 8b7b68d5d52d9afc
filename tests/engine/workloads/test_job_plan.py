"""What a Job does next, decided without a cluster."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.engine.workloads.indexes import format_indexes, parse_indexes
from kubeling.engine.workloads.job_plan import JobPlan, count, plan
from kubeling.engine.workloads.job_pods import INDEX, TRACKING, index_of, job_pod, tries_of
from kubeling.engine.workloads.job_status import finish, settle
from kubeling.kube.objects import Condition, Obj, condition, format_time, name, uid

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def ago(seconds: float) -> str:
    return format_time(NOW - dt.timedelta(seconds=seconds))


def job(restart: str = "Never", **spec: Any) -> Obj:
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "main"}]}}
    content = {"template": template, "completions": 1, "parallelism": 1, "backoffLimit": 6, **spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default", "uid": "u"},
        "spec": content,
        "status": {"startTime": ago(300)},
    }


def indexed(completions: int = 3, **spec: Any) -> Obj:
    given = {"completions": completions, "parallelism": completions, **spec}
    return job(completionMode="Indexed", **given)


def pod(
    phase: str = "Running",
    index: int | None = None,
    *,
    code: int = 0,
    age: int = 60,
    going: bool = False,
    tracked: bool = True,
    title: str = "",
    tries: tuple[int, int] = (0, 0),
    restarts: int = 0,
    conditions: tuple[tuple[str, str], ...] = (),
) -> Obj:
    ended = {"terminated": {"exitCode": code, "finishedAt": ago(age)}}
    state = ended if phase in ("Succeeded", "Failed") else {"running": {}}
    marks = {} if index is None else {INDEX: str(index), FAILURES: str(tries[0]),
                                      IGNORED: str(tries[1])}  # fmt: skip
    title = title or f"work-{phase}-{index}-{age}"
    metadata: Obj = {
        "name": title,
        "namespace": "default",
        "uid": title,
        "annotations": marks,
        "creationTimestamp": ago(age + 10),
    }
    if tracked:
        metadata["finalizers"] = [TRACKING]
    if going:
        metadata["deletionTimestamp"] = ago(age)
    return {
        "metadata": metadata,
        "spec": {},
        "status": {
            "phase": phase,
            "conditions": [{"type": t, "status": s} for t, s in conditions],
            "containerStatuses": [{"name": "main", "state": state, "restartCount": restarts}],
        },
    }


def pods(number: int, phase: str = "Running") -> list[Obj]:
    return [pod(phase, title=f"{phase}-{n}") for n in range(number)]


def said(todo: JobPlan, type_: str) -> Condition | None:
    return condition({"status": todo.status}, type_)


def reason(todo: JobPlan) -> str:
    return todo.outcome.reason if todo.outcome else ""


class TestNumbers:
    def test_no_more_pods_than_work_left(self) -> None:
        made = job(completions=5, parallelism=10)
        assert plan(made, pods(3, "Succeeded"), NOW).create == 2

    def test_what_was_counted_and_let_go_still_counts(self) -> None:
        made = job(completions=5, parallelism=10)
        made["status"] |= {"succeeded": 2, "uncountedTerminatedPods": {"succeeded": ["gone"]}}
        todo = plan(made, [pod("Succeeded", title="new")], NOW)
        assert todo.create == 1
        assert todo.status["succeeded"] == 3
        assert todo.status["uncountedTerminatedPods"] == {"succeeded": ["new"]}

    def test_a_pod_that_is_held_no_longer_does_not_count_again(self) -> None:
        made = job(completions=2, parallelism=2)
        made["status"]["succeeded"] = 1
        todo = plan(made, [pod("Succeeded", tracked=False)], NOW)
        assert todo.create == 1
        assert todo.release == []

    def test_nor_does_one_that_only_the_cache_shows_as_held(self) -> None:
        made = job(completions=2, parallelism=2)
        made["status"]["succeeded"] = 1
        todo = plan(made, [pod("Succeeded", title="a")], NOW, frozenset({"a"}))
        assert todo.create == 1

    def test_a_work_queue_starts_nobody_after_the_first_success(self) -> None:
        made = job(completions=None, parallelism=3)
        assert plan(made, [], NOW).create == 3
        todo = plan(made, [pod("Succeeded"), *pods(2)], NOW)
        assert (todo.create, todo.discard, todo.outcome) == (0, [], None)
        assert reason(plan(made, [pod("Succeeded")], NOW)) == "CompletionsReached"

    def test_less_parallelism_takes_the_pods_that_have_done_least(self) -> None:
        waiting = pod("Pending", title="waiting")
        todo = plan(job(completions=5, parallelism=2), [*pods(2), waiting], NOW)
        assert todo.discard == [waiting]
        assert todo.create == 0

    def test_at_most_five_hundred_are_made_or_let_go_at_once(self) -> None:
        assert plan(job(completions=2000, parallelism=2000), [], NOW).create == 500
        ended = pods(600, "Succeeded")
        todo = plan(job(completions=600, parallelism=600), ended, NOW)
        assert len(todo.release) == 500
        assert todo.more_to_release


class TestFailures:
    def test_are_followed_by_growing_pauses(self) -> None:
        todo = plan(job(), [pod("Failed", age=4)], NOW)
        assert todo.create == 0
        assert todo.requeue_after == pytest.approx(6)
        todo = plan(job(), [pod("Failed", age=30), pod("Failed", age=15)], NOW)
        assert todo.requeue_after == pytest.approx(5)
        assert plan(job(), [pod("Failed", age=30), pod("Failed", age=21)], NOW).create == 1

    def test_a_success_ends_the_pauses(self) -> None:
        made = job(completions=3, parallelism=1)
        assert plan(made, [pod("Failed", age=3), pod("Succeeded", age=2)], NOW).create == 1

    def test_beyond_the_limit_end_the_job(self) -> None:
        todo = plan(job(backoffLimit=1), [pod("Failed", age=100), pod("Failed", age=50)], NOW)
        assert reason(todo) == "BackoffLimitExceeded"
        assert said(todo, "FailureTarget") == Condition(
            "FailureTarget", "True", "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        )  # fmt: skip
        assert said(todo, "Failed") is None

    def test_restarts_count_where_containers_restart_in_their_pods(self) -> None:
        made = job("OnFailure", backoffLimit=3)
        assert plan(made, [pod(restarts=2)], NOW).outcome is None
        assert reason(plan(made, [pod(restarts=3)], NOW)) == "BackoffLimitExceeded"
        assert plan(job("OnFailure", backoffLimit=0), [pod()], NOW).outcome is None
        none = job("OnFailure", backoffLimit=0)
        assert reason(plan(none, [pod(restarts=1)], NOW)) == "BackoffLimitExceeded"

    def test_a_deleted_pod_is_one_and_is_replaced_at_once(self) -> None:
        todo = plan(job(), [pod(going=True, age=20)], NOW)
        assert todo.create == 1
        assert todo.status["terminating"] == 1
        assert todo.status["uncountedTerminatedPods"]["failed"] == ["work-Running-None-20"]

    def test_its_end_can_be_waited_for(self) -> None:
        todo = plan(job(podReplacementPolicy="Failed"), [pod(going=True, age=20)], NOW)
        assert todo.create == 0
        assert todo.release == []
        assert todo.status["uncountedTerminatedPods"] == {}

    def test_a_deadline_ends_the_job(self) -> None:
        todo = plan(job(activeDeadlineSeconds=300), [pod()], NOW)
        assert reason(todo) == "DeadlineExceeded"
        assert todo.delete == [pod()]
        assert todo.status["uncountedTerminatedPods"]["failed"] == [uid(pod())]
        assert plan(job(activeDeadlineSeconds=310), [pod()], NOW).requeue_after == 10


class TestPodFailurePolicy:
    def rules(self, *rules: Obj, **spec: Any) -> Obj:
        return {"podFailurePolicy": {"rules": list(rules)}, **spec}

    def on_code(self, action: str, *values: int, operator: str = "In", **more: Any) -> Obj:
        codes = {"operator": operator, "values": list(values), **more}
        return {"action": action, "onExitCodes": codes}

    def test_an_exit_code_may_end_the_job_at_once(self) -> None:
        todo = plan(job(**self.rules(self.on_code("FailJob", 42))), [pod("Failed", code=42)], NOW)
        assert todo.outcome is not None
        assert todo.outcome.reason == "PodFailurePolicy"
        assert todo.outcome.message == (
            "Container main for pod default/work-Failed-None-60 failed with exit code 42 matching "
            "FailJob rule at index 0"
        )

    def test_a_condition_may_too(self) -> None:
        pattern = [{"type": "ConfigIssue", "status": "True"}]
        made = job(**self.rules({"action": "FailJob", "onPodConditions": pattern}))
        todo = plan(made, [pod("Failed", conditions=(("ConfigIssue", "True"),))], NOW)
        assert todo.outcome is not None
        assert todo.outcome.message == (
            "Pod default/work-Failed-None-60 has condition ConfigIssue matching FailJob rule at "
            "index 0"
        )

    def test_ignored_failures_do_not_count(self) -> None:
        made = job(**self.rules(self.on_code("Ignore", 7), backoffLimit=0))
        todo = plan(made, [pod("Failed", code=7, age=30)], NOW)
        assert todo.create == 1
        assert todo.status["uncountedTerminatedPods"] == {}
        assert len(todo.release) == 1

    def test_the_first_rule_that_matches_decides(self) -> None:
        rules = self.rules(self.on_code("Count", 7), self.on_code("FailJob", 1, operator="NotIn"))
        assert plan(job(**rules), [pod("Failed", code=7)], NOW).outcome is None
        assert reason(plan(job(**rules), [pod("Failed", code=8)], NOW)) == "PodFailurePolicy"

    def test_a_rule_may_be_about_one_container(self) -> None:
        made = job(**self.rules(self.on_code("FailJob", 7, containerName="other")))
        assert plan(made, [pod("Failed", code=7)], NOW).outcome is None

    def test_success_is_no_exit_code_to_fail_by(self) -> None:
        made = job(**self.rules(self.on_code("FailJob", 3, operator="NotIn")))
        assert plan(made, [pod("Failed", code=0)], NOW).outcome is None

    def test_an_index_may_fail_at_once(self) -> None:
        made = indexed(2, **self.rules(self.on_code("FailIndex", 9)), backoffLimitPerIndex=5)
        todo = plan(made, [pod("Failed", 0, code=9), pod(index=1)], NOW)
        assert todo.status["failedIndexes"] == "0"
        assert not todo.create_at


class TestIndexes:
    def test_stay_completed_when_their_pods_are_gone(self) -> None:
        made = indexed()
        made["status"]["completedIndexes"] = "0,2"
        assert list(plan(made, [], NOW).create_at) == [1]

    def test_are_taken_once(self) -> None:
        running = [pod(index=0, title="a"), pod("Pending", 0, title="b")]
        todo = plan(indexed(2), running, NOW)
        assert [name(p) for p in todo.discard] == ["b"]

    def test_that_a_smaller_job_no_longer_has_are_dropped(self) -> None:
        made = indexed(2)
        made["status"]["completedIndexes"] = "0,3"
        todo = plan(made, [pod(index=5, title="far"), pod(index=1)], NOW)
        assert [name(p) for p in todo.discard] == ["far"]
        assert todo.status["completedIndexes"] == "0"
        assert todo.status["succeeded"] == 1

    def test_that_fail_too_often_leave_the_others_running(self) -> None:
        made = indexed(2, backoffLimitPerIndex=0)
        todo = plan(made, [pod("Failed", 0), pod(index=1)], NOW)
        assert todo.status["failedIndexes"] == "0"
        assert not todo.create_at
        todo = plan(made, [pod("Failed", 0), pod("Succeeded", 1)], NOW)
        assert reason(todo) == "FailedIndexes"

    def test_too_many_of_them_end_the_job(self) -> None:
        made = indexed(5, backoffLimitPerIndex=0, maxFailedIndexes=1)
        running = [pod("Failed", 0), pod("Failed", 1), pod(index=2)]
        assert reason(plan(made, running, NOW)) == "MaxFailedIndexesExceeded"

    def test_each_waits_by_itself_and_hands_its_failures_on(self) -> None:
        made = indexed(2, backoffLimitPerIndex=3)
        running = [pod("Failed", 0, age=5), pod("Failed", 1, age=25, tries=(1, 0))]
        todo = plan(made, running, NOW)
        assert todo.create_at == {1: (2, 0)}
        assert todo.release == [], "the last failure of an index is kept for its successor"
        todo = plan(made, [*running, pod(index=1, age=1, tries=(2, 0))], NOW)
        assert todo.requeue_after == pytest.approx(5)
        assert [index_of(p) for p in todo.release] == [1]

    def test_ignored_failures_are_handed_on_apart(self) -> None:
        codes = {"operator": "In", "values": [7]}
        rule = {"action": "Ignore", "onExitCodes": codes}
        made = indexed(1, backoffLimitPerIndex=0, podFailurePolicy={"rules": [rule]})
        assert plan(made, [pod("Failed", 0, code=7)], NOW).create_at == {0: (0, 1)}

    def test_a_pod_is_told_its_index(self) -> None:
        made = job_pod(indexed(2), 1, (2, 1))
        assert index_of(made) == 1
        assert tries_of(made) == (2, 1)
        assert made["spec"]["hostname"] == "work-1"
        assert made["metadata"]["labels"][INDEX] == "1"
        assert made["metadata"]["finalizers"] == [TRACKING]
        assert name(made).startswith("work-1-")
        variable = made["spec"]["containers"][0]["env"][0]
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"

    def test_a_long_name_is_cut_before_its_index(self) -> None:
        made = indexed(2)
        made["metadata"]["name"] = "x" * 60
        title = name(job_pod(made, 12))
        assert len(title) == 63
        assert title[:-5].endswith("x-12-")


class TestSuccess:
    def test_is_told_before_it_is_final(self) -> None:
        todo = plan(job(), [pod("Succeeded")], NOW)
        assert said(todo, "SuccessCriteriaMet") == Condition(
            "SuccessCriteriaMet", "True", "CompletionsReached",
            "Reached expected number of succeeded pods",
        )  # fmt: skip
        assert said(todo, "Complete") is None
        status, outcome = todo.status, todo.outcome
        assert outcome is not None
        assert not finish(status, outcome, NOW), "a pod is not counted yet"
        settle(status, set())
        assert finish(status, outcome, NOW)
        assert status["completionTime"] == format_time(NOW)
        assert status["succeeded"] == 1

    @pytest.mark.parametrize(
        ("rule", "met"),
        [
            ({"succeededIndexes": "0"}, True),
            ({"succeededIndexes": "1-2"}, False),
            ({"succeededIndexes": "0-2", "succeededCount": 1}, True),
            ({"succeededCount": 2}, False),
        ],
    )
    def test_may_be_a_matter_of_policy(self, rule: Obj, met: bool) -> None:
        made = indexed(successPolicy={"rules": [{"succeededCount": 3}, rule]})
        running = [pod("Succeeded", 0), pod(index=1)]
        todo = plan(made, running, NOW)
        assert (todo.delete == [running[1]]) is met
        if met:
            assert todo.outcome is not None
            assert todo.outcome.message == "Matched rules at index 1"
            assert todo.status["uncountedTerminatedPods"] == {}, "those stopped have not failed"

    def test_once_decided_stands(self) -> None:
        made = job(completions=3, parallelism=1, backoffLimit=0)
        entry = {"type": "SuccessCriteriaMet", "status": "True", "reason": "SuccessPolicy"}
        made["status"]["conditions"] = [entry]
        todo = plan(made, [pod("Failed")], NOW)
        assert todo.outcome is not None
        assert todo.outcome.succeeded


class TestSuspension:
    def test_takes_the_pods_without_counting_them(self) -> None:
        todo = plan(job(suspend=True), [pod()], NOW)
        assert todo.discard == [pod()]
        assert (todo.delete, todo.release) == ([], [])
        assert "startTime" not in todo.status
        assert said(todo, "Suspended") == Condition(
            "Suspended", "True", "JobSuspended", "Job suspended"
        )
        assert todo.events == [("Normal", "Suspended", "Job suspended")]

    def test_starts_the_clock_anew_when_it_ends(self) -> None:
        made = job(activeDeadlineSeconds=100)
        made["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
        todo = plan(made, [], NOW)
        assert todo.outcome is None
        assert todo.create == 1
        assert todo.status["startTime"] == format_time(NOW)
        assert todo.events == [("Normal", "Resumed", "Job resumed")]

    def test_a_job_that_never_was_suspended_says_nothing_of_it(self) -> None:
        assert said(plan(job(), [], NOW), "Suspended") is None


@given(st.sets(st.integers(0, 60)))
def test_indexes_survive_being_written_and_read(numbers: set[int]) -> None:
    assert set(parse_indexes(format_indexes(numbers))) == numbers


class _World:
    """A Job and its pods, driven as the controller does, with crashes between any two steps."""

    def __init__(self, made: Obj) -> None:
        self.job = made
        self.pods: list[Obj] = []
        self.made = 0
        self.ended = 0

    def look(self, steps: int) -> None:
        """Carries out the first ``steps`` of what is planned."""
        todo = plan(self.job, self.pods, NOW)
        fresh: list[Obj] = [job_pod(self.job) for _ in range(todo.create)]
        fresh += [job_pod(self.job, i, t) for i, t in todo.create_at.items()]
        for new in fresh:
            self.made += 1
            new["metadata"] |= {"uid": f"p{self.made}", "creationTimestamp": ago(10_000)}
            new["status"] = {"phase": "Running"}
        self.pods += fresh
        for gone in [*todo.delete, *todo.discard]:
            self.pods.remove(gone) if gone in todo.discard else self._stop(gone)
        if steps < 1:
            return
        count(todo.status, self.pods)
        self.job["status"] = todo.status
        for number, counted in enumerate(todo.release):
            if number >= steps - 1:
                return
            counted["metadata"]["finalizers"] = []
        self.pods = [p for p in self.pods if "deletionTimestamp" not in p["metadata"]
                     or p["metadata"]["finalizers"]]  # fmt: skip
        settle(todo.status, {uid(p) for p in self.pods if p["metadata"]["finalizers"]})
        count(todo.status, self.pods)
        if todo.outcome is not None and not todo.more_to_release:
            finish(todo.status, todo.outcome, NOW)

    def end(self, phase: str) -> None:
        running = [p for p in self.pods if p["status"]["phase"] == "Running"]
        if running:
            running[0]["status"] = {"phase": phase}
            self.ended += 1

    @property
    def finished(self) -> bool:
        kinds = {c["type"] for c in self.job["status"].get("conditions") or ()}
        return bool(kinds & {"Complete", "Failed"})

    def _stop(self, gone: Obj) -> None:
        gone["metadata"]["deletionTimestamp"] = ago(0)


moves = st.lists(st.one_of(st.integers(0, 6), st.sampled_from(["Succeeded", "Failed"])))


@settings(max_examples=200)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.booleans(), moves)
def test_every_pod_counts_once_whatever_step_a_crash_comes_after(
    completions: int, parallelism: int, limit: int, by_index: bool, script: list[Any]
) -> None:
    mode: Obj = {"completionMode": "Indexed"} if by_index else {}
    world = _World(
        job(completions=completions, parallelism=parallelism, backoffLimit=limit, **mode)
    )
    ends = {"Succeeded": 0, "Failed": 0}
    for move in script:
        if world.finished:
            break
        if isinstance(move, str):
            before = world.ended
            world.end(move)
            ends[move] += world.ended - before
        else:
            world.look(move)
        active = [p for p in world.pods if p["status"]["phase"] == "Running"]
        assert len([p for p in active if "deletionTimestamp" not in p["metadata"]]) <= parallelism
    for _ in range(40):
        if world.finished:
            break
        world.look(100)
        world.end("Succeeded")
    assert world.finished
    status = world.job["status"]
    assert "uncountedTerminatedPods" in status
    assert not any(status["uncountedTerminatedPods"].values())
    if condition(world.job, "Complete") is not None:
        assert status["succeeded"] == completions
        assert status.get("failed", 0) == ends["Failed"]
        assert ends["Failed"] <= limit
    else:
        assert ends["Failed"] > limit
