"""The ``batcher``: requests that are answered by one prediction."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import numpy as np
import pytest
from tests.serving.model_server import Doubler, serving
from tests.serving.test_agent import in_front

from kubeling.serving.agent.app import Duties
from kubeling.serving.server.batch_flags import BatchLimits
from kubeling.serving.server.errors import TimedOut
from kubeling.serving.server.infer_types import InferInput, InferRequest
from kubeling.serving.server.merging import Merger

V1 = "/v1/models/double:predict"
V2 = "/v2/models/double/infer"


def limits(size: int, latency: float = 30.0, timeout: float = 60.0) -> Merger:
    return Merger(BatchLimits(size, latency, timeout))


async def post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as answer:
        return answer.status, await answer.json()


def tensor(*rows: list[float]) -> dict[str, Any]:
    data = {"name": "x", "shape": [len(rows), 2], "datatype": "FP64", "data": list(rows)}
    return {"inputs": [data]}


async def test_requests_are_answered_by_one_prediction() -> None:
    model = Doubler()
    async with serving(model, merger=limits(4)) as client, asyncio.timeout(20):
        bodies = [{"instances": [[n, 1]]} for n in (1, 2)] + [{"instances": [[3, 1], [4, 1]]}]
        found = await asyncio.gather(*(post(client, V1, body) for body in bodies))
    assert model.calls == [4]
    assert [answer["predictions"] for _, answer in found] == [[4.0], [6.0], [8.0, 10.0]]
    assert len({answer["batchId"] for _, answer in found}) == 1
    assert {answer["message"] for _, answer in found} == {""}


async def test_the_first_waits_no_longer_than_it_may() -> None:
    model = Doubler()
    async with serving(model, merger=limits(100, latency=0.01)) as client, asyncio.timeout(20):
        status, answer = await post(client, V1, {"instances": [[1, 1]]})
    assert (status, answer["predictions"]) == (200, [4.0])


async def test_a_bad_request_fails_alone() -> None:
    async with serving(Doubler(), merger=limits(3)) as client, asyncio.timeout(20):
        bodies = [{"instances": [[n, 1]]} for n in (1, -9, 3)]
        found = await asyncio.gather(*(post(client, V1, body) for body in bodies))
    assert [status for status, _ in found] == [200, 400, 200]
    assert found[1][1] == {"error": "negative values are not allowed"}
    assert found[2][1]["predictions"] == [8.0]


async def test_what_differs_in_more_than_its_rows_is_not_merged() -> None:
    model = Doubler()
    async with serving(model, merger=limits(2)) as client, asyncio.timeout(20):
        bodies = [{"instances": [[n, 1]], "signature": n % 2} for n in range(4)]
        found = await asyncio.gather(*(post(client, V1, body) for body in bodies))
    assert [answer["predictions"] for _, answer in found] == [[2.0], [4.0], [6.0], [8.0]]
    ids = [answer["batchId"] for _, answer in found]
    assert ids[0] == ids[2] != ids[1] == ids[3]


async def test_what_has_no_instances_goes_alone() -> None:
    async with serving(Doubler(), merger=limits(100)) as client, asyncio.timeout(20):
        assert (await post(client, V1, {"inputs": [[1, 1]]}))[1] == {"predictions": [4.0]}
        assert (await post(client, V1, {}))[0] == 400
        assert (await post(client, V1, {"instances": []}))[0] == 400


async def test_tensors_of_v2_are_merged_and_split() -> None:
    model = Doubler()
    async with serving(model, merger=limits(3)) as client, asyncio.timeout(20):
        one = {**tensor([1, 1]), "id": "a", "outputs": [{"name": "output-0"}]}
        found = await asyncio.gather(
            post(client, V2, one), post(client, V2, tensor([2, 1], [3, 1]))
        )
    assert model.calls == [3]
    first, second = [answer for _, answer in found]
    assert first["id"] == "a"
    assert first["outputs"][0]["data"] == [4.0]
    assert (second["outputs"][0]["shape"], second["outputs"][0]["data"]) == ([2], [6.0, 8.0])


async def test_binary_tensors_are_merged() -> None:
    async with serving(Doubler(), merger=limits(2)) as client, asyncio.timeout(20):

        async def infer(number: float) -> Any:
            sent = InferInput("x", [1, 2], "FP64")
            sent.set_data_from_numpy(np.array([[number, 1.0]]))
            body, length = InferRequest("double", [sent]).to_rest()
            headers = {"Inference-Header-Content-Length": str(length)}
            async with client.post(V2, data=body, headers=headers) as answer:
                return (await answer.json())["outputs"][0]["data"]

        assert await asyncio.gather(infer(1.0), infer(2.0)) == [[4.0], [6.0]]


async def test_a_batch_that_takes_too_long_is_given_up() -> None:
    async def never(parts: Any) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(TimedOut):
        await limits(1, timeout=0.01).join("kind", [1], 1, never)


async def test_the_agent_merges_for_containers_of_ones_own() -> None:
    async with in_front(Duties(merger=limits(3))) as client, asyncio.timeout(20):
        path = "/v1/models/m:predict"
        bodies = [{"instances": [[1, 2]]}, {"instances": ["bad"]}, {"instances": [[3, 4]]}]

        async def ask(body: Any) -> tuple[int, Any]:
            async with client.post(path, json=body) as answer:
                text = await answer.text()
                return answer.status, text if answer.status != 200 else await answer.json()

        found = await asyncio.gather(*map(ask, bodies))
        # A batch that fails is tried one by one.
        assert [status for status, _ in found] == [200, 500, 200]
        assert found[0][1]["predictions"] == [3]
        good = await asyncio.gather(*(ask({"instances": [[n, 0]]}) for n in range(3)))
        assert [answer["predictions"] for _, answer in good] == [[0], [1], [2]]
        assert len({answer["batchId"] for _, answer in good}) == 1
        refused = await ask({})
        assert refused[0] == 400
