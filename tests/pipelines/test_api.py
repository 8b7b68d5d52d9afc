"""The REST API's promises to its clients: wire rules, lists, errors."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from tests.pipelines.conftest import Api
from tests.pipelines.specs import document, step, task

from kubeling.component import Context
from kubeling.kube import yaml
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import new_object
from kubeling.pipelines.resources import RUNS

ROOT = "/apis/v2beta1"
PIPELINE = document({"a": task()}, {"step": step()})
COMPILED = Path(__file__).parent / "compiled"


async def get(api: Api, path: str, status: int = 200, **query: Any) -> Any:
    shown = {k: v if isinstance(v, str) else json.dumps(v) for k, v in query.items()}
    async with api.get(ROOT + path, params=shown) as response:
        body = await response.json()
        assert response.status == status, body
        return body


async def post(api: Api, path: str, body: Any = None, status: int = 200) -> Any:
    async with api.post(ROOT + path, json=body if body is not None else {}) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def upload(
    api: Api, data: bytes, status: int = 200, path: str = "upload", **query: str
) -> Any:
    form = FormData()
    form.add_field("uploadfile", data, filename="my-pipeline.yaml")
    async with api.post(f"{ROOT}/pipelines/{path}", data=form, params=query) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def make_runs(api: Api, *names: str) -> list[Any]:
    return [await post(api, "/runs", {"display_name": n, "pipeline_spec": PIPELINE}) for n in names]


async def test_health_is_answered_behind_any_prefix(api: Api) -> None:
    for path in (
        "/apis/v2beta1/healthz",
        "/pipeline/apis/v2beta1/healthz",
        "/apis/v1beta1/healthz",
    ):
        async with api.get(path) as response:
            assert (await response.json())["multi_user"] is False


async def test_an_upload_makes_a_pipeline_and_its_first_version(api: Api) -> None:
    made = await upload(api, yaml.dump(PIPELINE).encode(), name="train", tags='{"team":"a"}')
    assert made["display_name"] == "train"
    assert made["tags"] == {"team": "a"}
    versions = await get(api, f"/pipelines/{made['pipeline_id']}/versions")
    assert [v["name"] for v in versions["pipeline_versions"]] == ["train"]
    assert versions["pipeline_versions"][0]["pipeline_spec"] == PIPELINE
    again = await upload(api, yaml.dump(PIPELINE).encode(), 409, name="train")
    assert "train" in again["error_message"]


async def test_archives_and_platform_settings_are_read(api: Api) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pipeline.yaml", (COMPILED / "kubernetes.yaml").read_text())
    made = await upload(api, packed.getvalue())
    assert made["name"] == "my-pipeline"
    versions = await get(api, f"/pipelines/{made['pipeline_id']}/versions")
    assert "platform_spec" in versions["pipeline_versions"][0]["pipeline_spec"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"a: [", "not valid YAML: line 2"),
        (b"a: 1", "pipelineInfo"),
        (json.dumps(document({"a": task("x")})).encode(), 'no component "x"'),
    ],
)
async def test_what_is_no_pipeline_is_refused(api: Api, content: bytes, message: str) -> None:
    assert message in (await upload(api, content, 400))["error_message"]


async def test_a_pipeline_with_versions_is_deleted_only_on_demand(api: Api) -> None:
    made = await upload(api, yaml.dump(PIPELINE).encode())
    path = f"{ROOT}/pipelines/{made['pipeline_id']}"
    async with api.delete(path) as response:
        assert response.status == 400
        assert (await response.json())["code"] == 9
    async with api.delete(path, params={"cascade": "true"}) as response:
        assert response.status == 200
    await get(api, f"/pipelines/{made['pipeline_id']}", 404)


async def test_a_run_becomes_an_object_and_a_row(api: Api, context: Context) -> None:
    (run,) = await make_runs(api, "first")
    objects = await context.client.list(RUNS, "default")
    assert [o["metadata"]["uid"] for o in objects.items] == [run["run_id"]]
    assert run["state"] == "PENDING"
    assert run["finished_at"] == "1970-01-01T00:00:00Z"
    assert run["pipeline_spec"] == PIPELINE
    experiments = (await get(api, "/experiments"))["experiments"]
    assert experiments[0]["display_name"] == "Default"
    assert experiments[0]["experiment_id"] == run["experiment_id"]


async def test_a_name_that_is_taken_is_no_error(
    api: Api, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings = iter("b" * 15 + "c" * 5)
    monkeypatch.setattr("secrets.choice", lambda _: next(endings))
    await make_runs(api, "first", "second")
    objects = await context.client.list(RUNS, "default")
    assert {o["metadata"]["name"] for o in objects.items} == {"p-bbbbb", "p-ccccc"}


async def test_a_run_of_a_pipeline_refers_to_its_latest_version(api: Api) -> None:
    made = await upload(api, yaml.dump(PIPELINE).encode())
    reference = {"pipeline_id": made["pipeline_id"]}
    run = await post(api, "/runs", {"pipeline_version_reference": reference})
    assert run["pipeline_version_reference"]["pipeline_version_id"]
    assert "pipeline_spec" not in run


async def test_pages_hold_everything_once(api: Api) -> None:
    await make_runs(api, *"edcba")
    seen, token = [], ""
    while True:
        page = await get(api, "/runs", page_size="2", sort_by="display_name desc", page_token=token)
        seen += [run["display_name"] for run in page["runs"]]
        assert page["total_size"] == 5
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == ["e", "d", "c", "b", "a"]


async def test_a_token_belongs_to_its_list(api: Api) -> None:
    await make_runs(api, "a", "b")
    page = await get(api, "/runs", page_size="1", sort_by="display_name")
    token = page["next_page_token"]
    refused = await get(api, "/runs", 400, page_token=token, sort_by="created_at")
    assert "sort_by" in refused["message"]


def predicate(operation: str, key: str, kind: str, value: Any) -> Any:
    return {"operation": operation, "key": key, kind: value}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"operation": 1, "key": "display_name", "stringValue": "b"}, ["b"]),
        (predicate("EQUALS", "name", "string_value", "b"), ["b"]),
        (predicate("NOT_EQUALS", "display_name", "string_value", "b"), ["a", "c%"]),
        (predicate("IS_SUBSTRING", "display_name", "string_value", "%"), ["c%"]),
        (predicate("IN", "display_name", "string_values", {"values": ["a", "b"]}), ["a", "b"]),
        (predicate("GREATER_THAN", "created_at", "timestamp_value", "2020-01-01T00:00:00Z"),
         ["a", "b", "c%"]),
        (predicate("EQUALS", "state", "string_value", "FAILED"), []),
    ],
)  # fmt: skip
async def test_filters(api: Api, wanted: Any, expected: list[str]) -> None:
    await make_runs(api, "a", "b", "c%")
    found = await get(api, "/runs", filter={"predicates": [wanted]}, sort_by="display_name")
    assert [run["display_name"] for run in found.get("runs", [])] == expected


@pytest.mark.parametrize(
    "wanted",
    [
        {"predicates": [{"operation": "EQUALS", "key": "color", "string_value": "x"}]},
        {"predicates": [{"operation": "IN", "key": "state", "string_value": "x"}]},
        {"predicates": [{"operation": "LIKE", "key": "state", "string_value": "x"}]},
        {"predicates": [{"operation": "EQUALS", "key": "state"}]},
    ],
)
async def test_filters_that_make_no_sense_are_refused(api: Api, wanted: Any) -> None:
    refused = await get(api, "/runs", 400, filter=wanted)
    assert refused["code"] == 3
    assert refused["message"].startswith(("filter", "cannot filter"))


async def test_bodies_with_unknown_fields_are_refused(api: Api) -> None:
    refused = await post(api, "/experiments", {"display_name": "x", "colour": "red"}, 400)
    assert 'unknown field "colour"' in refused["message"]
    await post(api, "/runs", {"display_name": "x"}, 400)


async def test_experiments_have_unique_names_and_can_be_archived(api: Api) -> None:
    made = await post(api, "/experiments", {"display_name": "x"})
    await post(api, "/experiments", {"display_name": "x"}, 409)
    run = await post(
        api, "/runs", {"pipeline_spec": PIPELINE, "experiment_id": made["experiment_id"]}
    )
    await post(api, f"/experiments/{made['experiment_id']}:archive")
    archived = await get(api, f"/runs/{run['run_id']}")
    assert archived["storage_state"] == "ARCHIVED"
    await post(api, f"/runs/{run['run_id']}:unarchive", status=400)


async def test_terminating_is_asked_of_the_object(api: Api, context: Context) -> None:
    (run,) = await make_runs(api, "a")
    await post(api, f"/runs/{run['run_id']}:terminate")
    (found,) = (await context.client.list(RUNS, "default")).items
    assert found["spec"]["terminate"] is True


async def test_recurring_runs_keep_upstreams_spelling(api: Api) -> None:
    body = {
        "display_name": "nightly",
        "pipeline_spec": PIPELINE,
        "trigger": {"cron_schedule": {"cron": "0 0 2 * * *"}},
        "max_concurrency": "50",
        "mode": "ENABLE",
    }
    made = await post(api, "/recurringruns", body)
    assert made["max_concurrency"] == "10"
    assert made["status"] == "ENABLED"
    listed = await get(api, "/recurringruns")
    assert [job["display_name"] for job in listed["recurringRuns"]] == ["nightly"]
    body["trigger"] = {"cron_schedule": {"cron": "every night"}}
    refused = await post(api, "/recurringruns", body, 400)
    assert "six fields" in refused["message"]


async def test_a_run_that_makes_no_sense_is_refused_at_apply(context: Context) -> None:
    broken = {**PIPELINE, "components": {}}
    run = new_object(RUNS, "r", "default", spec={"pipelineSpec": broken})
    with pytest.raises(Invalid, match=r"spec\.pipelineSpec: Invalid value: .*no component"):
        await context.client.create(RUNS, run)
    with pytest.raises(Invalid, match=r"spec\.pipelineSpec: Required value"):
        await context.client.create(RUNS, new_object(RUNS, "r", "default", spec={}))
