"""The REST API's wire: messages, limits, error bodies, and what is not offered."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from tests.pipelines.conftest import Api
from tests.pipelines.test_api import PIPELINE, ROOT, get, post, upload

from kubeling.kube import yaml

SOURCE = yaml.dump(PIPELINE).encode()


async def patch(api: Api, path: str, body: Any, status: int = 200) -> Any:
    async with api.patch(ROOT + path, json=body) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def delete(api: Api, path: str, status: int = 200) -> Any:
    async with api.delete(ROOT + path) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"display_name": 5}, "display_name: a string is expected"),
        ({"runtime_config": {"params": {}}}, 'unknown field "runtime_config.params"'),
        ({"pipeline_version_reference": {"id": "x"}}, 'field "pipeline_version_reference.id"'),
        ({"runtime_config": []}, "runtime_config: an object is expected"),
        ([], "the body: an object is expected"),
    ],
)
async def test_messages_are_checked_to_the_last_field(api: Api, body: Any, message: str) -> None:
    refused = await post(api, "/runs", body, 400)
    assert message in refused["message"]
    assert refused["code"] == 3


async def test_fields_may_be_spelled_as_in_proto_or_json(api: Api) -> None:
    made = await upload(api, SOURCE)
    reference = {"pipelineId": made["pipeline_id"]}
    body = {"displayName": "r", "pipelineVersionReference": reference, "description": None}
    assert (await post(api, "/runs", body))["display_name"] == "r"


async def test_a_pipeline_and_its_version_can_be_made_in_one_message(api: Api) -> None:
    body = {
        "pipeline": {"name": "p", "tags": {"team": "a"}},
        "pipeline_version": {
            "display_name": "first",
            "pipeline_spec": PIPELINE,
            "tags": {"stage": "test"},
            "code_source_url": "https://example.com/code",
        },
    }
    made = await post(api, "/pipelines/create", body)
    assert (await get(api, "/pipelines/names/p"))["pipeline_id"] == made["pipeline_id"]
    (version,) = (await get(api, f"/pipelines/{made['pipeline_id']}/versions"))["pipeline_versions"]
    assert version["display_name"] == "first"
    assert version["tags"] == {"stage": "test"}
    assert version["code_source_url"] == "https://example.com/code"


@pytest.mark.parametrize(
    "url", ["/nonexistent/pipeline.yaml", "http://127.0.0.1:1/pipeline.yaml", ""]
)
async def test_a_pipeline_that_cannot_be_fetched_is_refused(api: Api, url: str) -> None:
    version = {"display_name": "v", "package_url": {"pipeline_url": url}}
    body = {"pipeline": {"name": "p"}, "pipeline_version": version}
    refused = await post(api, "/pipelines/create", body, 400)
    assert "package_url.pipeline_url" in refused["message"]
    assert await get(api, "/pipelines") == {}


async def test_a_version_is_found_by_its_own_id(api: Api) -> None:
    first, second = await upload(api, SOURCE, name="one"), await upload(api, SOURCE, name="two")
    listed = await get(api, f"/pipelines/{first['pipeline_id']}/versions")
    own = listed["pipeline_versions"][0]["pipeline_version_id"]
    path = f"/pipelines/{second['pipeline_id']}/versions/{own}"
    assert (await get(api, path))["pipeline_id"] == first["pipeline_id"]
    await delete(api, path)
    assert await get(api, f"/pipelines/{first['pipeline_id']}/versions") == {}


BAD_TAGS = [
    {"k" * 64: "v"},
    {"k": "v" * 64},
    {"": "v"},
    {"a.b": "v"},
    {f"k{number}": "v" for number in range(21)},
    {"k": 1},
]


@pytest.mark.parametrize("tags", BAD_TAGS)
async def test_tags_have_limits(api: Api, tags: Any) -> None:
    assert "tags" in (await post(api, "/pipelines", {"name": "x", "tags": tags}, 400))["message"]
    made = await upload(api, SOURCE)
    path = f"/pipelines/{made['pipeline_id']}"
    await patch(api, path, {"tags": tags}, 400)
    text = json.dumps(tags)
    refused = await upload(
        api, SOURCE, 400, "upload_version", pipelineid=made["pipeline_id"], name="v2", tags=text
    )
    assert refused["error_message"].startswith("Failed to upload pipeline version: tags")


async def test_tags_and_shown_names_can_be_changed(api: Api) -> None:
    made = await upload(api, SOURCE, name="p", tags='{"a":"1"}')
    path = f"/pipelines/{made['pipeline_id']}"
    longest = {"k" * 63: "v" * 63}
    changed = await patch(api, path, {"display_name": "P", "tags": longest})
    assert (changed["name"], changed["display_name"], changed["tags"]) == ("p", "P", longest)
    wanted = {"predicates": [{"operation": 1, "key": f"tags.{'k' * 63}", "string_value": "v" * 63}]}
    found = await get(api, "/pipelines", filter=wanted)
    assert [pipeline["display_name"] for pipeline in found["pipelines"]] == ["P"]
    assert "tags" not in await patch(api, path, {"tags": {}})
    wanted["predicates"][0]["operation"] = "NOT_EQUALS"
    await get(api, "/pipelines", 400, filter=wanted)


@pytest.mark.parametrize(("length", "status"), [(128, 200), (129, 400), (500, 400)])
async def test_names_have_limits(api: Api, length: int, status: int) -> None:
    await post(api, "/pipelines", {"name": "n" * length}, status)
    await post(api, "/experiments", {"display_name": "n" * length}, status)


async def test_upload_errors_say_what_failed(api: Api) -> None:
    refused = await upload(api, b"\x89PNG\r\n\x1a\n\0\0", 400)
    assert refused["error_message"].startswith("Failed to upload pipeline: ")
    refused = await upload(api, SOURCE, 404, "upload_version", pipelineid="12345")
    assert refused["error_message"].startswith("Failed to upload pipeline version: ")
    refused = await upload(api, b"#" * ((32 << 20) + 1), 400)
    assert "32 MiB" in refused["error_message"]


async def test_pipelines_may_come_as_json_or_in_an_archive(api: Api) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("x/pipeline.yaml")
        member.size = len(SOURCE)
        archive.addfile(member, io.BytesIO(SOURCE))
    await upload(api, packed.getvalue(), name="archive")
    await upload(api, json.dumps(PIPELINE).encode(), name="json")


async def test_what_plugins_are_given_is_kept_and_bounded(api: Api) -> None:
    body = {"pipeline_spec": PIPELINE, "plugins_input": {"mlflow": {"experiment": "e"}}}
    assert (await post(api, "/runs", body))["plugins_input"] == {"mlflow": {"experiment": "e"}}
    too_much: list[dict[str, Any]] = [
        {f"p{number}": {} for number in range(17)},
        {"p": {"text": "x" * (64 << 10)}},
        {f"p{number}": {"text": "x" * (60 << 10)} for number in range(5)},
    ]
    for given in too_much:
        refused = await post(api, "/runs", {**body, "plugins_input": given}, 400)
        assert refused["message"].startswith("plugins_input")


async def test_terminating_twice_is_no_error(api: Api) -> None:
    run = await post(api, "/runs", {"pipeline_spec": PIPELINE})
    for _ in range(2):
        assert await post(api, f"/runs/{run['run_id']}:terminate") == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/apis/v2beta1/workflows"),
        ("POST", "/pipeline/apis/v2beta1/scheduledworkflows"),
        ("POST", "/apis/v2beta1/visualizations/default"),
        ("GET", "/apis/v1beta1/runs"),
    ],
)
async def test_what_is_not_offered_says_what_is(api: Api, method: str, path: str) -> None:
    async with api.request(method, path, json={}) as response:
        answer = await response.json()
    assert response.status == 501
    assert answer["code"] == 12
    assert "is not offered" in answer["message"]


async def test_a_filter_can_be_checked(api: Api) -> None:
    wanted = {"predicates": [{"operation": 8, "key": "name", "stringValues": {"values": ["a"]}}]}
    checked = {"operation": "IN", "key": "name", "string_values": {"values": ["a"]}}
    assert await get(api, "/filters", filter=wanted) == {"predicates": [checked]}


async def test_a_single_user_may_do_everything(api: Api) -> None:
    assert await get(api, "/auth", namespace="x", resources="VIEWERS", verb="GET") == {}
    refused = await get(api, "/auth", 400, namespace="x", resources="PODS", verb="GET")
    assert "VIEWERS" in refused["message"]
