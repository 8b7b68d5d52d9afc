"""What a monitored server shows of its requests, and takes as feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from tests.serving.model_server import Doubler, serving

from kubeling.serving.server.errors import ServingError
from kubeling.serving.server.infer_types import InferInput, InferOutput, InferRequest, InferResponse
from kubeling.serving.server.sampling import Sampler

V1 = {"instances": [[1.0, 2.0], [3.0, 4.0]]}


async def look(client: aiohttp.ClientSession, **wanted: Any) -> Any:
    async with client.post("/monitor/samples", json=wanted) as answer:
        return await answer.json()


async def test_rows_and_predictions_are_shown_once() -> None:
    async with serving(Doubler(), sampler=Sampler()) as client:
        await client.post("/v1/models/double:predict", json=V1, headers={"x-request-id": "r1"})
        bad = await client.post("/v1/models/double:predict", json={"instances": [[-1.0, 0.0]]})
        assert bad.status == 400
        found = await look(client)
        assert found["requests"] == 1
        assert found["samples"] == [
            {"rows": V1["instances"], "predictions": [6.0, 14.0], "id": "r1"}
        ]
        assert found["features"] == ["a", "b"]
        assert await look(client) == {}


async def test_nobody_outside_sees_what_others_asked() -> None:
    async with serving(Doubler(), sampler=Sampler()) as client:
        await client.post("/v1/models/double:predict", json=V1)
        headers = {"X-Forwarded-For": "10.0.0.1"}
        async with client.post("/monitor/samples", json={}, headers=headers) as answer:
            assert answer.status == 404
        assert (await look(client))["requests"] == 1


async def test_both_protocols_and_named_features_are_understood() -> None:
    tensors = [
        {"name": title, "shape": [1, 1], "datatype": "FP64", "data": [value]}
        for title, value in (("a", 1.0), ("b", 2.0))
    ]
    async with serving(Doubler(), sampler=Sampler()) as client:
        await client.post("/v2/models/double/infer", json={"id": "x", "inputs": tensors})
        await client.post("/v1/models/double:predict", json={"instances": [{"b": 2.0, "a": 1.0}]})
        first, second = (await look(client))["samples"]
    assert first == {"names": ["a", "b"], "rows": [[1.0, 2.0]], "predictions": [6.0], "id": "x"}
    assert second == {"names": ["b", "a"], "rows": [[2.0, 1.0]], "predictions": [6.0]}


async def test_feedback_finds_its_answer() -> None:
    told = {"feedback": [{"id": "r1", "labels": [6, 13]}, {"id": "unknown", "label": 1}]}
    async with serving(Doubler(), sampler=Sampler()) as client:
        await client.post("/v1/models/double:predict", json=V1, headers={"x-request-id": "r1"})
        async with client.post("/v1/models/double:feedback", json=told) as answer:
            assert (answer.status, await answer.json()) == (202, {"accepted": 2})
        assert (await look(client))["feedback"] == [
            {"id": "r1", "labels": [6, 13], "predictions": [6.0, 14.0]},
            {"id": "unknown", "label": 1},
        ]
        # Another server was told of a request that this one answered.
        assert (await look(client, answers=["r1", "r2"]))["answers"] == {"r1": [6.0, 14.0]}


async def test_feedback_that_says_nothing_is_refused() -> None:
    async with serving(Doubler(), sampler=Sampler()) as client:
        for body in ({"label": 1}, {"id": "r1"}, {"id": "r", "label": 1, "labels": [1]}, 7):
            async with client.post("/v2/models/double/feedback", json=body) as answer:
                assert answer.status == 400, body
    async with (
        serving(Doubler()) as client,
        client.post("/v1/models/double:feedback", json={"id": "r1", "label": 1}) as answer,
    ):
        assert answer.status == 501
        assert "serving.kubeling.io/monitoring" in (await answer.json())["error"]


async def test_the_profile_beside_the_model_is_shown(tmp_path: Path) -> None:
    (tmp_path / "reference-profile.json").write_text("{}")
    for place, status in ((tmp_path / "reference-profile.json", 200), (tmp_path / "none", 404)):
        async with (
            serving(Doubler(), sampler=Sampler(place)) as client,
            client.get("/monitor/profile") as answer,
        ):
            assert answer.status == status


def test_what_nobody_fetches_is_bounded_and_spread_over_time() -> None:
    sampler = Sampler()
    for number in range(1000):
        sampler.saw({"instances": [[number]]}, {"predictions": [number]}, {})
    first = sampler.look()
    assert (first.requests, len(first.samples)) == (1000, 256)
    for number in range(1000):
        sampler.saw({"instances": [[number]]}, {"predictions": [number]}, {})
    rows = [sample.rows[0][0] for sample in sampler.look().samples]
    assert len(rows) == 250
    assert max(rows) > 990


def test_answers_by_id_and_feedback_are_bounded() -> None:
    sampler = Sampler()
    for number in range(25_000):
        sampler.saw({}, {"predictions": [number]}, {"x-request-id": str(number)})
    found = sampler.look(["0", "24999"])
    assert found.answers == {"24999": [24999]}
    with pytest.raises(ServingError) as refused:
        sampler.told([{"id": "r", "label": 1}] * 2001)
    assert refused.value.http_status == 503


def test_what_is_kept_of_large_requests_and_answers_is_bounded() -> None:
    sampler = Sampler()
    wide = {"instances": [[0.5] * 500 for _ in range(100)]}
    for number in range(100):
        scores = {"predictions": [[0.1] * 20_000]}
        sampler.saw(wide, scores, {"x-request-id": str(number)})
    sampler.saw({"instances": [["x" * 100_000]]}, {"predictions": ["y" * 100_000]}, {})
    found = sampler.look([str(number) for number in range(100)])
    assert [len(sample.predictions) for sample in found.samples] == [1] * 101
    assert sum(len(row) for sample in found.samples for row in sample.rows) <= 500_000
    assert len(found.samples[0].rows) == 64
    assert max(map(len, map(str, found.samples[-1].predictions))) == 256
    assert "99" in found.answers
    assert "0" not in found.answers


def test_pictures_are_watched_by_their_answers_only() -> None:
    picture = np.zeros((1, 64, 64), dtype=np.float32)
    request = InferRequest("m", [InferInput("image", [1, 64, 64], "FP32", picture)])
    classes = InferOutput.of("scores", np.array([[0.1, 0.7, 0.2]]))
    sampler = Sampler()
    sampler.saw(request, InferResponse(None, "m", [classes]), {})
    nested = {"instances": [[[0.0] * 8] * 8]}
    sampler.saw(nested, {"predictions": [[0.9, 0.1]]}, {})
    sampler.saw("no request at all", object(), {})
    first, second, third = sampler.look().samples
    assert (first.rows, first.predictions) == ([], [1])
    assert (second.rows, second.predictions) == ([], [0])
    assert msgspec.to_builtins(third) == {}
