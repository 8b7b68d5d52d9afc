"""All steps of a run in brief."""

from __future__ import annotations

from tests.pipelines.conftest import Api
from tests.pipelines.simulation import Simulation, succeed
from tests.pipelines.specs import dag, document, step, task

from kubeling.component import Context
from kubeling.pipelines.ir_reading import parse_spec
from kubeling.pipelines.records import RunRecord
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.store import RunStore

ROOT = "/apis/v2beta1"
LOOP = {"parameterIterator": {"items": {"raw": "[1, 2]"}, "itemInput": "i"}}
BODY = dag({"fit": task(), "score": task("step", "fit")}, i="NUMBER_INTEGER")
PIPELINE = document(
    {"load": task(), "each": task("body", "load", **LOOP), "report": task("step", "each")},
    {
        "step": step(),
        "body": dag({"fit": task(), "score": task("step", "fit")}, i="NUMBER_INTEGER"),
    },
)


async def test_steps_come_with_their_groups_and_with_what_they_wait_for(
    api: Api, context: Context
) -> None:
    async with api.post(f"{ROOT}/runs", json={"pipeline_spec": PIPELINE}) as answer:
        run_id = (await answer.json())["run_id"]
    done = Simulation(parse_spec(PIPELINE)).run(succeed)
    store = RunStore(await context.open_database())
    (run,) = (await context.client.list(RUNS)).items
    record = RunRecord("RUNNING", "", 0, [], None)
    await store.save(run, list(done.nodes.values()), record, done.now)
    async with api.get(f"{ROOT}/runs/{run_id}/steps") as answer:
        found = await answer.json()
    assert found["run"]["run_id"] == run_id
    assert "pipeline_spec" not in found["run"]
    steps = {s["path"]: s for s in found["steps"]}
    assert steps["load"]["state"] == "SUCCEEDED"
    assert steps["each"]["kind"] == "loop"
    assert steps["each"]["after"] == ["load"]
    assert steps["each/0"]["kind"] == "iteration"
    assert steps["each/1/score"]["after"] == ["each/1/fit"]
    assert steps["report"]["after"] == ["each"]
    assert "cache" not in steps["load"]


async def test_a_step_says_what_the_cache_answered_if_that_is_asked_for(
    api: Api, context: Context
) -> None:
    async with api.post(f"{ROOT}/runs", json={"pipeline_spec": PIPELINE}) as answer:
        run_id = (await answer.json())["run_id"]
    done = Simulation(parse_spec(PIPELINE)).run(succeed)
    done.nodes["load"].cache = "not cached: parameter x was 1, is 2"
    store = RunStore(await context.open_database())
    (run,) = (await context.client.list(RUNS)).items
    record = RunRecord("RUNNING", "", 0, [], None)
    await store.save(run, list(done.nodes.values()), record, done.now)
    async with api.get(f"{ROOT}/runs/{run_id}/steps?cache=true") as answer:
        steps = {s["path"]: s for s in (await answer.json())["steps"]}
    assert steps["load"]["cache"] == "not cached: parameter x was 1, is 2"


async def test_a_run_that_is_not_there_is_said_so(api: Api) -> None:
    async with api.get(f"{ROOT}/runs/none/steps") as answer:
        assert answer.status == 404
        assert "none" in (await answer.json())["message"]
