"""Experiments against a real API server, from the manifest to the best trial."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.tuning.cluster import Cluster, argument, condition, running_cluster
from tests.tuning.experiments import manifest

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, deep_copy, name
from kubeling.kube.resources import EVENTS, JOBS
from kubeling.tuning.observations import OBSERVATIONS
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS


def measure(job: Obj) -> tuple[str, int]:
    """Every trial's loss is its learning rate."""
    return f"epoch 1 loss=0.9\n{argument(job)}\n", 0


def search(**spec: Any) -> Obj:
    """An experiment whose trials are given their learning rate."""
    obj = manifest(**spec)
    template = obj["spec"]["trialTemplate"] = deep_copy(obj["spec"]["trialTemplate"])
    container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["train", "loss=${trialParameters.lr}"]
    return obj


async def finished(cluster: Cluster, obj: Obj, how: str = "Succeeded") -> Obj:
    await cluster.client.create(EXPERIMENTS, obj)
    return await cluster.until(EXPERIMENTS, "search", condition(how))


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
async def test_an_experiment_finds_its_best_trial(tmp_path: Path, algorithm: str) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        found = await finished(cluster, search(algorithm={"algorithmName": algorithm}))
        status = found["status"]
        assert status["trialsSucceeded"] == 4
        trials = (await cluster.client.list(TRIALS, "team")).items
        losses = {t["metadata"]["name"]: _loss(t["status"]["observation"]) for t in trials}
        best = status["currentOptimalTrial"]
        assert best["bestTrialName"] == min(losses, key=lambda trial: losses[trial])
        assert _loss(best["observation"]) == float(best["parameterAssignments"][0]["value"])
        assert cluster.most_together <= 2
        assert len(cluster.jobs) == 4


async def test_the_readings_of_every_trial_are_kept(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        await finished(cluster, search(maxTrialCount=2))
        trials = (await cluster.client.list(TRIALS, "team")).items
        rows = await cluster.context.database.run(
            lambda connection: connection.execute(sa.select(OBSERVATIONS)).all()
        )
        assert {row.trial_uid for row in rows} == {t["metadata"]["uid"] for t in trials}
        assert len(rows) == 4


async def test_a_grid_ends_when_every_combination_was_tried(tmp_path: Path) -> None:
    space = {"min": "0.1", "max": "0.3", "step": "0.1"}
    grid = search(
        algorithm={"algorithmName": "grid"},
        parameters=[{"name": "lr", "parameterType": "double", "feasibleSpace": space}],
        maxTrialCount=None,
    )
    async with running_cluster(tmp_path, measure) as cluster:
        found = await finished(cluster, grid)
        assert found["status"]["conditions"][-1]["reason"] == "ExperimentSuggestionEndReached"
        assert found["status"]["trials"] == 3
        suggestion = await cluster.until(SUGGESTIONS, "search", condition("Succeeded"))
        values = [
            s["parameterAssignments"][0]["value"] for s in suggestion["status"]["suggestions"]
        ]
        assert values == ["0.1", "0.2", "0.3"]


async def test_a_failed_trial_says_why_and_keeps_its_job(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("crash", 3)) as cluster:
        found = await finished(cluster, search(maxFailedTrialCount=1), "Failed")
        assert "exited with code 3" in found["status"]["conditions"][-1]["message"]
        trial = (await cluster.client.list(TRIALS, "team")).items[0]
        assert await cluster.client.find(JOBS, name(trial), "team")


async def test_a_trial_without_its_metric_says_what_to_print(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("hello", 0)) as cluster:
        found = await finished(cluster, search(maxFailedTrialCount=1), "Failed")
        assert found["status"]["trialMetricsUnavailable"] >= 1
        assert "print a line such as loss=0.5" in found["status"]["conditions"][-1]["message"]


async def test_the_job_of_a_successful_trial_goes_unless_it_is_retained(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        kept = search(maxTrialCount=1, parallelTrialCount=1)
        kept["spec"]["trialTemplate"]["retain"] = True
        kept["metadata"]["name"] = "kept"
        await cluster.client.create(EXPERIMENTS, kept)
        await cluster.until(EXPERIMENTS, "kept", condition("Succeeded"))
        gone = asyncio.Event()
        cluster.informers.of(JOBS).add_handler(lambda old, new: None if new else gone.set())
        await finished(cluster, search(maxTrialCount=1, parallelTrialCount=1))
        await asyncio.wait_for(gone.wait(), 20)
        (left,) = (await cluster.client.list(JOBS, "team")).items
        assert name(left).startswith("kept-")


async def test_a_kind_nobody_knows_fails_the_trial_by_name(tmp_path: Path) -> None:
    obj = search(maxFailedTrialCount=1)
    template = obj["spec"]["trialTemplate"]
    template["trialSpec"] = {
        "apiVersion": "example.com/v1",
        "kind": "Rocket",
        "spec": {"lr": "${trialParameters.lr}"},
    }
    template["successCondition"] = template["failureCondition"] = "status.done"
    async with running_cluster(tmp_path, measure) as cluster:
        found = await finished(cluster, obj, "Failed")
        assert 'no kind "Rocket" in example.com/v1' in found["status"]["conditions"][-1]["message"]


async def test_an_incomplete_experiment_is_refused_with_the_fields_it_lacks(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        incomplete = manifest(objective=None, trialTemplate=None)
        with pytest.raises(Invalid) as refused:
            await cluster.client.create(EXPERIMENTS, incomplete)
        fields = [cause["field"] for cause in refused.value.details["causes"]]
        assert fields == ["spec.objective", "spec.trialTemplate"]


async def test_a_restart_creates_no_trial_twice(tmp_path: Path) -> None:
    """The controllers end after points were proposed; their successors create those trials."""
    async with running_cluster(tmp_path, measure, controllers=False) as cluster:
        await cluster.client.create(EXPERIMENTS, search())
        from kubeling.tuning.component import COMPONENT

        experiments, suggestions, *_ = COMPONENT.controllers(cluster.context)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(c.run(cluster.informers)) for c in (experiments, suggestions)
            ]
            await cluster.until(TRIALS, await _first_point(cluster))
            for task in tasks:
                task.cancel()
    async with running_cluster(tmp_path, measure) as cluster:
        found = await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        assert found["status"]["trials"] == 4
        assert len(set(cluster.jobs)) == len(cluster.jobs) == 4


async def test_namesakes_of_two_namespaces_never_touch(tmp_path: Path) -> None:
    def worse_elsewhere(job: Obj) -> tuple[str, int]:
        return ("loss=1" if job["metadata"]["namespace"] == "team" else "loss=2"), 0

    async with running_cluster(tmp_path, worse_elsewhere) as cluster:
        for namespace in ("other", "team"):
            one = search()
            one["metadata"]["namespace"] = namespace
            await cluster.client.create(EXPERIMENTS, one)
        for namespace in ("other", "team"):
            await cluster.until(
                EXPERIMENTS,
                "search",
                lambda e, own=namespace: (
                    e["metadata"]["namespace"] == own and condition("Succeeded")(e)
                ),
            )
        for namespace, loss in (("team", 1.0), ("other", 2.0)):
            found = await cluster.client.get(EXPERIMENTS, "search", namespace)
            assert found["status"]["trialsSucceeded"] == 4
            assert _loss(found["status"]["currentOptimalTrial"]["observation"]) == loss
            suggestion = await cluster.client.get(SUGGESTIONS, "search", namespace)
            own = {name(t) for t in (await cluster.client.list(TRIALS, namespace)).items}
            assert {point["name"] for point in suggestion["status"]["suggestions"]} == own


async def test_deleting_an_experiment_forgets_what_it_measured(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        await finished(cluster, search(maxTrialCount=1, parallelTrialCount=1))
        (trial,) = (await cluster.client.list(TRIALS, "team")).items
        gone = asyncio.Event()
        cluster.informers.of(TRIALS).add_handler(lambda old, new: None if new else gone.set())
        await cluster.client.delete(TRIALS, name(trial), "team")
        await asyncio.wait_for(gone.wait(), 20)
        count = sa.select(sa.func.count()).select_from(OBSERVATIONS)
        assert await cluster.context.database.run(lambda c: c.execute(count).scalar()) == 0


async def test_events_tell_the_story(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, measure) as cluster:
        await finished(cluster, search(maxTrialCount=1, parallelTrialCount=1))
        events = (await cluster.client.list(EVENTS, "team")).items
        reasons = {event["reason"] for event in events}
        assert {"JobCreated", "JobSucceeded"} <= reasons
        assert all(event["firstTimestamp"] for event in events)


async def _first_point(cluster: Cluster) -> str:
    proposed = await cluster.until(
        SUGGESTIONS, "search", lambda s: (s.get("status") or {}).get("suggestions")
    )
    return str(proposed["status"]["suggestions"][0]["name"])


def _loss(observation: Obj) -> float:
    return float(observation["metrics"][0]["min"])


async def test_a_trial_is_compared_with_what_others_came_to(tmp_path: Path) -> None:
    """Those had been looked at while they ran, too."""
    seen: list[str] = []

    def worse_later(job: Obj) -> tuple[str, int | None]:
        seen.append(name(job))
        return ("loss=0.1\n" * 3, 0) if len(seen) <= 3 else ("loss=0.9\n" * 3, None)

    settings = {"percentile": "50", "min_trials_required": "3", "start_step": "1"}
    stopping = search(
        maxTrialCount=4,
        parallelTrialCount=1,
        earlyStopping={
            "algorithmName": "percentile",
            "algorithmSettings": [{"name": n, "value": v} for n, v in settings.items()],
        },
    )
    async with running_cluster(tmp_path, worse_later) as cluster:
        status = (await finished(cluster, stopping))["status"]
        assert status["trialsSucceeded"] == 3
        assert status["earlyStoppedTrialList"] == seen[3:]
