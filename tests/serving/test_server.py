"""The model server, as a client of either protocol sees it."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.model_server import Doubler, serving

from kubeling.serving.requestlog.folder import FolderLog, read_folder
from kubeling.serving.requestlog.record import Counts, new_record
from kubeling.serving.server.__main__ import main
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.http import Request, Response
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import ModelRepository

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.8, 2.8, 4.8, 1.4]]


async def test_v1_predicts_rows_by_position_and_by_name() -> None:
    async with serving(Doubler()) as client:
        answer = await client.post("/v1/models/double:predict", json={"instances": [[1, 2]]})
        assert (answer.status, await answer.json()) == (200, {"predictions": [6]})
        named = {"instances": [{"b": 2, "a": 1}]}
        answer = await client.post("/v1/models/double:predict", json=named)
        assert await answer.json() == {"predictions": [6]}


async def test_v1_takes_any_content_type_as_curl_sends_it() -> None:
    async with serving(Doubler()) as client:
        for kind in ("application/x-www-form-urlencoded", "application/json; charset=utf-8"):
            answer = await client.post(
                "/v1/models/double:predict",
                data=b'{"inputs": [[1, 2]]}',
                headers={"Content-Type": kind},
            )
            assert await answer.json() == {"predictions": [6]}


async def test_v2_answers_tensors_and_echoes_the_id() -> None:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    async with serving(Doubler()) as client:
        answer = await client.post("/v2/models/double/infer", json={"id": "7", "inputs": [tensor]})
        assert await answer.json() == {
            "model_name": "double",
            "id": "7",
            "outputs": [
                {"name": "output-0", "shape": [2], "datatype": "FP32", "data": [6.0, 14.0]}
            ],
        }


async def test_v2_takes_a_tensor_for_each_feature() -> None:
    tensors = [
        {"name": "b", "shape": [2], "datatype": "INT64", "data": [2, 4]},
        {"name": "a", "shape": [2, 1], "datatype": "INT64", "data": [1, 3]},
    ]
    async with serving(Doubler()) as client:
        answer = await client.post("/v2/models/double/infer", json={"inputs": tensors})
        assert (await answer.json())["outputs"][0]["data"] == [6, 14]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("v1/models/double:predict", b"{", 400, "the body is not valid JSON"),
        ("v1/models/double:predict", b"{}", 400, 'expected the key "instances"'),
        ("v1/models/double:predict", b'{"instances": [[1]]}', 400, "every row needs 2 features"),
        ("v1/models/double:predict", b'{"instances": [[1],[1,2]]}', 400, "the rows differ in len"),
        ("v1/models/double:predict", b'{"instances": [[-1,2]]}', 400, "negative values"),
        ("v1/models/double:predict", b'{"instances": [{"a":1}]}', 400, "exactly these features"),
        ("v2/models/double/infer", b"{}", 400, 'expected {"inputs"'),
        (
            "v2/models/double/infer",
            b'{"inputs": 3}',
            400,
            "Expected `array`, got `int`",
        ),
        (
            "v2/models/double/infer",
            b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP99","data":[1,2]}]}',
            400,
            'input "x": unknown datatype FP99',
        ),
        (
            "v2/models/double/infer",
            b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2]}]}',
            400,
            'input "x": data does not fit shape [1, 3]',
        ),
        ("v1/models/nope:predict", b"{}", 404, "Model with name nope does not exist."),
        ("v1/models/double:explain", b"{}", 501, "does not implement explain"),
        ("v2/models/double/versions/1/infer", b"{}", 404, "Model double has no version 1"),
    ],
)
async def test_errors_say_what_is_wrong(path: str, body: bytes, status: int, message: str) -> None:
    async with serving(Doubler()) as client:
        answer = await client.post(f"/{path}", data=body)
        found = await answer.json()
        assert answer.status == status
        assert list(found) == ["error"]
        assert message in found["error"]


async def test_a_model_that_is_not_ready_is_503_everywhere() -> None:
    model = Doubler()
    model.ready = False
    async with serving(model) as client:
        for path in ("/v1/models/double", "/v2/health/ready", "/v2/models/double/ready"):
            assert (await client.get(path)).status == 503
        answer = await client.post("/v1/models/double:predict", json={"instances": [[1, 2]]})
        assert answer.status == 503
        assert (await client.get("/v2/health/live")).status == 200


async def test_requests_that_arrive_together_are_predicted_together() -> None:
    model = Doubler()
    async with serving(model) as client:
        del client
        bodies = [{"instances": [[i, 1]]} for i in range(8)]
        found = await asyncio.gather(*(model.predict(body, {}) for body in bodies))
    assert model.calls == [8]
    assert [answer["predictions"] for answer in found] == [[2 * (i + 1)] for i in range(8)]


async def test_each_of_those_that_arrive_together_is_answered_as_alone() -> None:
    model = Doubler()
    plane = DataPlane(ModelRepository([model]))
    app = ModelApp(plane)
    bodies = [b'{"instances": [[1, %d]]}' % i for i in (2, 3, -1, 4)]
    path, answers = "/v1/models/double:predict", asyncio.Queue[tuple[int, Response]]()

    def asked(bodies: Sequence[bytes]) -> None:
        for place, body in enumerate(bodies):
            answer = functools.partial(lambda i, found: answers.put_nowait((i, found)), place)
            assert app.immediately(Request("POST", path, {}, body), answer)

    asked([bodies[0], b'{"instances": [[1, 0], [2, 2]]}', bodies[1]])
    found = [await answers.get() for _ in range(3)]
    assert [json.loads(one.body)["predictions"] for _, one in found] == [[6], [2, 8], [8]]
    assert model.calls == [4], "all of it in one array"
    asked(bodies)
    found = sorted([await answers.get() for _ in bodies], key=lambda entry: entry[0])
    assert [one.status for _, one in found] == [200, 200, 400, 200]
    assert json.loads(found[2][1].body) == {"error": "negative values are not allowed"}
    text = plane.metrics.text()
    assert 'kubeling_requests_total{model_name="double",code="200"} 6' in text
    assert 'kubeling_requests_total{model_name="double",code="400"} 1' in text


async def test_a_bad_request_does_not_fail_those_it_was_batched_with() -> None:
    model = Doubler()
    good, bad = {"instances": [[1, 2]]}, {"instances": [[-1, 2]]}
    found = await asyncio.gather(
        model.predict(good, {}), model.predict(bad, {}), return_exceptions=True
    )
    assert found[0] == {"predictions": [6]}
    assert isinstance(found[1], Exception)


async def test_a_slow_model_leaves_the_server_free_and_is_batched() -> None:
    class Slow(Doubler):
        def predict_rows(self, rows: Any) -> Any:
            threads.append(threading.current_thread())
            loop.call_soon_threadsafe(begun.set)
            time.sleep(0.05)
            return super().predict_rows(rows)

    threads: list[threading.Thread] = []
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    model = Slow()
    good, bad = {"instances": [[1, 2]]}, {"instances": [[-1, 2]]}
    await model.predict(good, {})
    await begun.wait()
    begun.clear()
    threads.clear()
    model.calls.clear()
    first = asyncio.create_task(model.predict(good, {}))
    await begun.wait()
    found = await asyncio.gather(
        first, *(model.predict(good, {}) for _ in range(3)), model.predict(bad, {}),
        return_exceptions=True,
    )  # fmt: skip
    assert found[:4] == [{"predictions": [6]}] * 4
    assert isinstance(found[4], Exception)
    assert model.calls == [1, 4, 1, 1, 1, 1], "those that waited go together, then one by one"
    assert threading.main_thread() not in threads


async def test_a_slow_model_of_ones_own_leaves_the_server_free() -> None:
    class Slow(Model):
        def predict(self, payload: Any, headers: Any, response_headers: Any = None) -> Any:
            if payload["instances"] == ["long"]:
                time.sleep(0.05)
            elif payload["instances"] == ["until it is live"]:
                assert go.wait(60), "the server answered nobody else meanwhile"
            if payload["instances"] == ["bad"]:
                raise InvalidInput("bad")
            return {"predictions": [threading.current_thread() is threading.main_thread()]}

    go, model = threading.Event(), Slow("slow")
    model.ready = True
    async with serving(model) as client:

        async def ask(what: str) -> Any:
            answer = await client.post("/v1/models/slow:predict", json={"instances": [what]})
            return (await answer.json()).get("predictions", answer.status)

        async def threads() -> bool:
            text = await (await client.get("/metrics")).text()
            return 'kubeling_prediction_threads{model_name="slow"} 1' in text

        assert (await ask("quick"), await threads()) == ([True], False)
        assert await ask("long") == [True]
        assert await threads()
        waiting = asyncio.create_task(ask("until it is live"))
        assert (await client.get("/v2/health/live")).status == 200
        go.set()
        assert await waiting == [False]
        assert await ask("bad") == 400
        async with asyncio.timeout(60):
            while await ask("quick") == [False]:
                pass
        assert not await threads()


async def test_a_predict_that_begins_something_on_the_event_loop_stays_there() -> None:
    class Beginning(Model):
        def predict(self, payload: Any, headers: Any, response_headers: Any = None) -> Any:
            time.sleep(0.03)
            return asyncio.get_running_loop().create_task(asyncio.sleep(0, {"predictions": [1]}))

    model = Beginning("beginning")
    model.ready = True
    async with serving(model) as client:
        for _ in range(3):
            answer = await client.post("/v1/models/beginning:predict", json={"instances": [1]})
            assert await answer.json() == {"predictions": [1]}


async def test_an_answer_that_no_log_can_hold_is_still_answered(tmp_path: Path) -> None:
    class Strange(Doubler):
        def predict_rows(self, rows: Any) -> Any:
            return np.asarray([1j] * len(rows), dtype=object)

    counts = Counts()
    log = FolderLog(tmp_path, "all", counts)
    async with serving(Strange(), request_log=log) as client, asyncio.timeout(10):
        answer = await client.post("/v1/models/double:predict", json={"instances": [[1, 2]]})
        assert answer.status == 500
    assert counts.dropped
    log.close()


@pytest.mark.parametrize(
    ("data", "tail"),
    [('"parameters": {"binary_data_size": 8}', bytes(8)), (f'"data": {"[" * 900}{"]" * 900}', b"")],
    ids=["too few bytes", "nested too deep"],
)
async def test_a_request_that_no_log_can_hold_is_still_refused(
    tmp_path: Path, data: str, tail: bytes
) -> None:
    log = FolderLog(tmp_path, "all", Counts())
    head = f'{{"inputs": [{{"name": "x", "shape": [1, 2], "datatype": "FP64", {data}}}]}}'
    headers = {"Inference-Header-Content-Length": str(len(head))}
    async with serving(Doubler(), request_log=log) as client, asyncio.timeout(10):
        sent = head.encode() + tail
        answer = await client.post("/v2/models/double/infer", data=sent, headers=headers)
        assert answer.status == 400, await answer.text()
        text = await (await client.get("/metrics")).text()
    assert 'kubeling_requests_total{model_name="double",code="400"} 1' in text
    log.close()
    (record,) = b"".join(read_folder(tmp_path)).splitlines()
    assert json.loads(record)["request"] is None


async def test_what_a_model_raises_is_told_to_the_caller_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Doubler):
        def predict_rows(self, rows: Any) -> Any:
            raise KeyError("no such column")

    async with serving(Broken()) as client:
        answer = await client.post("/v1/models/double:predict", json={"instances": [[1, 2]]})
        assert answer.status == 500
        assert "no such column" in (await answer.json())["error"]
    assert any(record.exc_info for record in caplog.records)


async def test_a_model_of_ones_own_may_change_requests_and_answers() -> None:
    class Shouting(Model):
        ready = True

        def __init__(self) -> None:
            super().__init__("shout")
            self.ready = True

        async def preprocess(self, body: Any, headers: Mapping[str, str]) -> Any:
            return body["text"]

        def predict(self, body: Any, headers: Mapping[str, str]) -> Any:
            return body.upper()

        def postprocess(self, answer: Any, headers: Mapping[str, str]) -> Any:
            return {"said": answer}

    async with serving(Shouting()) as client:
        answer = await client.post("/v1/models/shout:predict", json={"text": "hello"})
        assert await answer.json() == {"said": "HELLO"}
        answer = await client.post("/v1/models/shout:predict", json={"txt": "hello"})
        assert (answer.status, await answer.json()) == (500, {"error": "KeyError: 'text'"})


async def test_metrics_count_answers_by_status() -> None:
    async with serving(Doubler()) as client:
        await client.post("/v1/models/double:predict", json={"instances": [[1, 2]]})
        await client.post("/v1/models/double:predict", json={})
        text = await (await client.get("/metrics")).text()
    assert 'kubeling_requests_total{model_name="double",code="200"} 1' in text
    assert 'kubeling_requests_total{model_name="double",code="400"} 1' in text
    assert 'request_predict_seconds_count{model_name="double"} 2' in text


async def test_metrics_tell_of_batches_and_of_what_waits_for_them() -> None:
    async with serving(Doubler()) as client:
        rows = [[1, 2]] * 3
        await client.post("/v1/models/double:predict", json={"instances": rows})
        text = await (await client.get("/metrics")).text()
    assert 'kubeling_batch_rows_bucket{model_name="double",le="2"} 0' in text
    assert 'kubeling_batch_rows_bucket{model_name="double",le="4"} 1' in text
    assert 'kubeling_requests_waiting{model_name="double"} 0' in text


async def test_requests_are_recorded_in_a_folder_of_bounded_size(tmp_path: Path) -> None:
    counts = Counts()
    log = FolderLog(tmp_path, "all", counts, max_bytes=2000)
    async with serving(Doubler(), request_log=log, log_folder=tmp_path) as client:
        for number in range(40):
            await client.post("/v1/models/double:predict", json={"instances": [[number, 2]]})
        log.flush()
        text = await (await client.get("/v1/models/double/requests")).text()
    log.close()
    records = [json.loads(line) for line in text.splitlines()]
    assert records[-1]["request"] == {"instances": [[39, 2]]}
    assert records[-1]["response"] == {"predictions": [82]}
    assert _size(tmp_path) <= 4000
    assert (counts.written, counts.dropped) == (40, 0)


async def test_a_log_that_cannot_be_written_costs_only_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    counts = Counts()
    log = FolderLog(tmp_path / "file", "all", counts)
    log.add(new_record("m", 200, {}, {}))
    assert counts.dropped == 1


def test_lines_of_several_pods_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"id": 2}\n')
    assert len(list(read_folder(tmp_path))) == 2


def test_files_that_go_while_a_folder_is_read_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nothing")
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id": {number}}}\n')
        os.utime(tmp_path / f"{name}.jsonl", (number + 1, number + 1))
    lines = read_folder(tmp_path)
    assert next(lines) == b'{"id": 0}\n'
    (tmp_path / "b.jsonl").unlink()
    assert list(lines) == [b'{"id": 2}\n']


def _train(format_name: str, folder: Path) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    from sklearn.datasets import load_iris

    features, target = load_iris(return_X_y=True)
    if format_name == "sklearn":
        joblib = pytest.importorskip("joblib")
        joblib.dump(
            sklearn.LogisticRegression(max_iter=500).fit(features, target), folder / "m.joblib"
        )
    elif format_name == "onnx":
        skl2onnx = pytest.importorskip("skl2onnx")
        model = sklearn.LogisticRegression(max_iter=500).fit(features, target)
        first = features[:1].astype(np.float32)
        (folder / "m.onnx").write_bytes(skl2onnx.to_onnx(model, first).SerializeToString())
    elif format_name == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        trained = xgboost.train(
            {"objective": "multi:softmax", "num_class": 3, "nthread": 1},
            xgboost.DMatrix(features, target),
            5,
        )
        trained.save_model(folder / "m.ubj")
    else:
        lightgbm = pytest.importorskip("lightgbm")
        settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
        data = lightgbm.Dataset(features, target)
        lightgbm.train(settings, data, 5).save_model(folder / "m.bst")


@pytest.mark.parametrize("format_name", ["sklearn", "xgboost", "lightgbm", "onnx"])
async def test_every_format_answers_both_protocols(format_name: str, tmp_path: Path) -> None:
    _train(format_name, tmp_path)
    model = create_model(format_name, "iris", tmp_path)
    model.load()
    model.ready = True
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
    async with serving(model) as client:
        answer = await client.post("/v1/models/iris:predict", json={"instances": ROWS})
        first = (await answer.json())["predictions"]
        answer = await client.post("/v2/models/iris/infer", json={"inputs": [tensor]})
        second = (await answer.json())["outputs"][0]
        wrong = await client.post("/v1/models/iris:predict", json={"instances": [[1.0]]})
        said = (await wrong.json())["error"]
        metadata = await (await client.get("/v2/models/iris")).json()
    labels = np.argmax(first, axis=1).tolist() if format_name == "lightgbm" else first
    assert labels == [0, 1]
    assert second["shape"][0] == 2
    assert second["data"] == np.ravel(first).tolist()
    assert wrong.status == 400
    assert "4" in said, "how many there have to be"
    assert metadata["inputs"][0]["shape"] == [-1, 4]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is exactly one .joblib or .pkl or .pickle file, but .* holds nothing"),
        (["a.pkl", "b.pkl"], "holds a.pkl, b.pkl"),
        (["a.pkl"], "a.pkl is no pickle, but begins with b'nonsense'; save it by joblib.dump"),
    ],
)
def test_files_that_are_no_model_are_named(files: list[str], message: str, tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    for file in files:
        (tmp_path / file).write_bytes(b"nonsense")
    with pytest.raises(ModelLoadError, match=message):
        create_model("sklearn", "m", tmp_path).load()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


async def test_a_batch_has_a_largest_size() -> None:
    model = Doubler()
    bodies = [{"instances": [[1, 1]] * 1500} for _ in range(4)]
    await asyncio.gather(*(model.predict(body, {}) for body in bodies))
    assert model.calls == [3000, 3000]


def test_flags_of_upstream_without_effect_are_named_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("joblib")
    flags = ["--max_threads=8", "--enable_docs_url=False", "--event-loop", "auto"]
    assert main([f"--model_dir={tmp_path}", *flags, "--nonsense"]) == 1
    assert [message for message in caplog.messages if "no effect" in message] == [
        "--nonsense is not known here, and has no effect",
        "--max_threads=8 has no effect: gRPC runs on the event loop",
    ]
