"""However a trial behaves, it ends in a condition that says what happened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.tuning.cluster import Cluster, condition, running_cluster
from tests.tuning.experiments import JOB

from kubeling.kube.objects import Obj, deep_copy, name, new_object, uid
from kubeling.kube.resources import EVENTS, JOBS
from kubeling.tuning.observations import ObservationStore
from kubeling.tuning.resources import TRIALS

CONDITION = 'status.conditions.#(type=="{}")#|#(status=="True")#'


def trial(**spec: Any) -> Obj:
    """A trial as an experiment makes it."""
    run = deep_copy(JOB)
    run["metadata"] = {"name": "a", "namespace": "team"}
    return new_object(
        TRIALS,
        "a",
        "team",
        spec={
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "runSpec": run,
            "metricsCollector": {"collector": {"kind": "StdOut"}},
            "primaryContainerName": "train",
            "successCondition": CONDITION.format("Complete"),
            "failureCondition": CONDITION.format("Failed"),
            **spec,
        },
    )


async def ended(cluster: Cluster, obj: Obj, how: str) -> Obj:
    await cluster.client.create(TRIALS, obj)
    found = await cluster.until(TRIALS, "a", condition(how))
    assert found["status"]["completionTime"]
    assert found["status"]["conditions"][-1]["type"] == how
    return found


@pytest.mark.parametrize(
    ("log", "code", "how", "message"),
    [
        ("loss=0.5", 0, "Succeeded", "Trial has succeeded"),
        ("loss=0.5", 3, "Failed", "container train exited with code 3"),
        ("", 0, "MetricsUnavailable", 'was not found in the log of container "train"'),
        ("\x01\ufffd loss= loss=high [[[[", 0, "MetricsUnavailable", "print a line such as loss="),
        ("loss=nan", 0, "MetricsUnavailable", "was nan, which is no finite number"),
        ("loss=-inf\nloss=nan", 0, "MetricsUnavailable", "which is no finite number"),
        ("loss=inf\nloss=2\nloss=nan", 0, "Succeeded", "Trial has succeeded"),
    ],
)
async def test_it_says_how_it_went(
    tmp_path: Path, log: str, code: int, how: str, message: str
) -> None:
    async with running_cluster(tmp_path, lambda job: (log, code)) as cluster:
        found = await ended(cluster, trial(), how)
        assert message in found["status"]["conditions"][-1]["message"]
        types = [c["type"] for c in found["status"]["conditions"]]
        assert types == ["Created", "Running", how]


async def test_an_objective_may_be_a_text(tmp_path: Path) -> None:
    formats = {"filter": {"metricsFormat": [r"([\w-]+)=(Shape.*)"]}}
    collector = {"collector": {"kind": "StdOut"}, "source": formats}
    log = "loss=Shape(a)\n" + "x" * 100 + f"\nloss=Shape({'b' * 500})"
    async with running_cluster(tmp_path, lambda job: (log, 0)) as cluster:
        found = await ended(cluster, trial(metricsCollector=collector), "Succeeded")
        (metric,) = found["status"]["observation"]["metrics"]
        assert metric == {
            "name": "loss",
            "min": "unavailable",
            "max": "unavailable",
            "latest": f"Shape({'b' * 500})",
        }
        store = ObservationStore(lambda: cluster.context.database)
        kept = await store.read("team", uid(found))
        assert [reading.value for reading in kept] == ["Shape(a)", f"Shape({'b' * 500})"]


async def test_very_many_lines_are_summed_up_all_the_same(tmp_path: Path) -> None:
    text = "\n".join(f"step {n} loss={20_000 - n}" for n in range(20_000))
    async with running_cluster(tmp_path, lambda job: (text, 0)) as cluster:
        found = await ended(cluster, trial(), "Succeeded")
        (metric,) = found["status"]["observation"]["metrics"]
        assert metric == {"name": "loss", "min": "1", "max": "20000", "latest": "1"}


async def test_a_pod_without_the_primary_container_is_told(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("loss=1", 0)) as cluster:
        found = await ended(cluster, trial(primaryContainerName="main"), "MetricsUnavailable")
        told = found["status"]["conditions"][-1]["message"]
        assert 'has no container "main" (it has: train)' in told


def rules(value: str, start: int) -> list[Obj]:
    return [{"name": "loss", "value": value, "comparison": "greater", "startStep": start}]


async def test_a_trial_that_fulfils_its_rules_is_stopped_and_its_observation_kept(
    tmp_path: Path,
) -> None:
    async with running_cluster(tmp_path, lambda job: ("loss=0.9\nloss=0.8", None)) as cluster:
        gone = asyncio.Event()
        cluster.informers.of(JOBS).add_handler(lambda old, new: None if new else gone.set())
        found = await ended(cluster, trial(earlyStoppingRules=rules("0.5", 2)), "EarlyStopped")
        stopped = found["status"]["conditions"][-1]
        assert (stopped["reason"], stopped["message"]) == (
            "TrialEarlyStopped",
            "Trial is early stopped",
        )
        (metric,) = found["status"]["observation"]["metrics"]
        assert (metric["min"], metric["max"]) == ("0.8", "0.9")
        await asyncio.wait_for(gone.wait(), 20)
        await cluster.until(EVENTS, await deletion_event(cluster))


async def test_a_trial_as_good_as_its_rules_ask_goes_on(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("loss=0.9\nloss=0.8", 0)) as cluster:
        await ended(cluster, trial(earlyStoppingRules=rules("0.85", 2)), "Succeeded")


async def test_a_stopped_trial_that_is_to_be_retained_is_suspended(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("loss=0.9", None)) as cluster:
        stopped = trial(earlyStoppingRules=rules("0.5", 1), retainRun=True)
        await ended(cluster, stopped, "EarlyStopped")
        job = await cluster.until(JOBS, "a", lambda job: job["spec"].get("suspend"))
        assert name(job) == "a"


async def deletion_event(cluster: Cluster) -> str:
    """The name of the event that says that the trial's Job was deleted."""
    async for event in cluster.client.watch(EVENTS, "team"):
        if event.object["reason"] == "JobDeleted":
            return name(event.object)
    raise AssertionError("the watch ended")


async def test_a_job_with_a_field_that_no_job_has_is_told(tmp_path: Path) -> None:
    misspelt = trial()
    misspelt["spec"]["runSpec"]["spec"]["backofLimit"] = 0
    async with running_cluster(tmp_path, lambda job: ("loss=1", 0)) as cluster:
        found = await ended(cluster, misspelt, "Failed")
        told = found["status"]["conditions"][-1]["message"]
        assert "the Job was refused" in told
        assert 'unknown field "spec.backofLimit"' in told
