"""The Open Inference Protocol over REST, with its extensions: bytes, versions, a repository."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.model_server import Doubler, serving, serving_repository

from kubeling.serving.server import tensors
from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.infer_types import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
)
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import FolderRepository
from kubeling.serving.server.rest_v2 import HEADER

ROWS = np.array([[1, 2], [3, 4]], dtype="<f4")


def binary(head: dict[str, Any], *raw: bytes) -> dict[str, Any]:
    """A request with bytes after its JSON."""
    encoded = json.dumps(head).encode()
    return {"data": b"".join([encoded, *raw]), "headers": {HEADER: str(len(encoded))}}


def tensor(**more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", **more}


class Echo(Model):
    """Answers with the tensors it was given, and with what was asked."""

    platform = "echo"

    def predict(self, payload: Any, headers: Any, response_headers: Any = None) -> Any:
        outputs = [InferOutput.of(t.name, t.as_numpy()) for t in payload.inputs]
        return InferResponse("", self.name, outputs, parameters=payload.parameters)


def ready(model: Model) -> Model:
    model.ready = True
    return model


async def test_tensors_are_taken_as_bytes_and_answered_so_when_asked() -> None:
    sized = tensor(parameters={"binary_data_size": 16})
    head = {"inputs": [sized], "parameters": {"binary_data_output": True}}
    async with serving(Doubler()) as client:
        answer = await client.post("/v2/models/double/infer", **binary(head, ROWS.tobytes()))
        body, length = await answer.read(), int(answer.headers[HEADER])
    assert answer.content_type == "application/octet-stream"
    assert json.loads(body[:length])["outputs"] == [
        {
            "name": "output-0",
            "shape": [2],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 8},
        }
    ]
    assert struct.unpack("<2f", body[length:]) == (6.0, 14.0)


async def test_each_output_may_be_asked_for_by_name_and_in_its_own_form() -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["é"]},
        {"name": "c", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]
    outputs = [{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}]
    async with serving(ready(Echo("echo"))) as client:
        answer = await client.post(
            "/v2/models/echo/infer", json={"inputs": inputs, "outputs": outputs}
        )
        body, length = await answer.read(), int(answer.headers[HEADER])
        missing = await client.post(
            "/v2/models/echo/infer", json={"inputs": inputs, "outputs": [{"name": "z"}]}
        )
        assert 'has no output "z"; it has: a, b, c' in (await missing.json())["error"]
    found = json.loads(body[:length])["outputs"]
    assert [output["name"] for output in found] == ["b", "a"]
    assert found[1]["data"] == [1]
    assert body[length:] == b"\x02\x00\x00\x00" + "é".encode()


@pytest.mark.parametrize("model", [Echo("echo"), Doubler()])
async def test_a_request_for_an_output_that_is_not_there_is_counted_as_refused(
    model: Model,
) -> None:
    body = {"inputs": [tensor(data=[1, 2, 3, 4])], "outputs": [{"name": "z"}]}
    async with serving(ready(model)) as client:
        answer = await client.post(f"/v2/models/{model.name}/infer", json=body)
        assert answer.status == 400
        assert 'has no output "z"' in (await answer.json())["error"]
        text = await (await client.get("/metrics")).text()
    counted = [line for line in text.splitlines() if line.startswith("kubeling_requests_total")]
    assert counted == [f'kubeling_requests_total{{model_name="{model.name}",code="400"}} 1']


async def test_parameters_reach_the_model_and_come_back() -> None:
    sent = {"inputs": [tensor(data=[1, 2, 3, 4])], "parameters": {"trace": 7}, "id": "abc"}
    async with serving(ready(Echo("echo"))) as client:
        found = await (await client.post("/v2/models/echo/infer", json=sent)).json()
    assert (found["parameters"], found["id"]) == ({"trace": 7}, "abc")


@pytest.mark.parametrize(
    ("head", "raw", "message"),
    [
        ({"inputs": [tensor(parameters={"binary_data_size": 16})]}, 8, "only 8 bytes are left"),
        ({"inputs": [tensor(parameters={"binary_data_size": 8})]}, 8, "is 16 bytes, but 8 were"),
        ({"inputs": [tensor(parameters={"binary_data_size": -1})]}, 0, "a number of bytes"),
        ({"inputs": [tensor(data=[1, 2, 3, 4])]}, 3, "3 bytes after the JSON belong to no tensor"),
        ({"inputs": [tensor(data=[1], parameters={"binary_data_size": 4})]}, 4, "send one"),
        ({"inputs": [tensor()]}, 0, '"x" has no data'),
        ({"inputs": [tensor(datatype="FP16", data=[1, 2, 3, 4])]}, 0, "FP16 cannot be sent as"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 2, 3, 400])]}, 0, "fit datatype INT8"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 2, 3, 0.5])]}, 0, "fit datatype INT8"),
        ({"inputs": [tensor(data=["1", "2", "3", "4"])]}, 0, "fit datatype FP32"),
        ({"inputs": [tensor(datatype="BYTES", data=[1, 2, 3, 4])]}, 0, "a list of strings"),
        ({"inputs": [tensor(shape=[-1, 2], data=[1, 2])]}, 0, "is not a list of sizes"),
        ({"inputs": [tensor(shape="2", data=[1, 2])]}, 0, "Expected `array`, got `str`"),
        ({"inputs": [tensor(shape=[1] * 65, data=[1])]}, 0, "no array has this shape"),
        ({"inputs": [tensor(shape=[0, 2**62], data=[])]}, 0, "no array has this shape"),
    ],
)
async def test_tensors_that_are_not_what_they_say_are_refused(
    head: dict[str, Any], raw: int, message: str
) -> None:
    async with serving(ready(Echo("echo"))) as client:
        answer = await client.post("/v2/models/echo/infer", **binary(head, b"\0" * raw))
        assert answer.status == 400
        assert message in (await answer.json())["error"]


@pytest.mark.parametrize("text", ["x", "-1", "1e3", "9" * 30, "999"])
async def test_a_wrong_length_of_the_json_is_refused(text: str) -> None:
    async with serving(Doubler()) as client:
        answer = await client.post("/v2/models/double/infer", data=b"{}", headers={HEADER: text})
        assert answer.status == 400
        assert HEADER in (await answer.json())["error"]


async def test_metadata_has_the_models_own_tensors() -> None:
    async with serving(Doubler()) as client:
        found = await (await client.get("/v2/models/double")).json()
        server = await (await client.get("/v2")).json()
    assert found == {
        "name": "double",
        "versions": [],
        "platform": "",
        "inputs": [{"name": "input-0", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [{"name": "output-0", "datatype": "FP64", "shape": [-1]}],
        "parameters": {"features": ["a", "b"]},
    }
    assert "binary_tensor_data" in server["extensions"]


class Numbered(Model):
    """Answers with the number in its folder's file ``value``."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder = folder

    def load(self) -> bool:
        file = self.folder / "value"
        if not file.exists():
            raise ModelLoadError(f"{self.folder.name} has no file value")
        self.value = int(file.read_text())
        return True

    def predict(self, payload: Any, headers: Any, response_headers: Any = None) -> Any:
        return {"predictions": [self.value]}


async def folder_of(path: Path, **values: int) -> FolderRepository:
    for name, value in values.items():
        write(path / name.strip("v"), value)
    repository = FolderRepository("m", path, Numbered)
    await repository.load_all()
    return repository


def write(folder: Path, value: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "value").write_text(str(value))


INPUTS = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [0]}]}


async def test_numbered_folders_are_versions_and_the_highest_answers(tmp_path: Path) -> None:
    async with serving_repository(await folder_of(tmp_path, v2=22, v10=100)) as client:
        metadata = await (await client.get("/v2/models/m")).json()
        newest = await (await client.post("/v2/models/m/infer", json=INPUTS)).json()
        older = await (await client.post("/v2/models/m/versions/2/infer", json=INPUTS)).json()
        plain = await (await client.post("/v1/models/m:predict", json={})).json()
        assert (await client.get("/v2/models/m/versions/2/ready")).status == 200
        assert (await client.get("/v2/models/m/versions/2")).status == 200
        missing = await client.get("/v2/models/m/versions/3")
        assert missing.status == 404
        assert (await missing.json())["error"] == "Model m has no version 3; there are: 2, 10"
    assert metadata["versions"] == ["2", "10"]
    assert (newest["model_version"], newest["outputs"][0]["data"]) == ("10", [100])
    assert (older["model_version"], older["outputs"][0]["data"]) == ("2", [22])
    assert plain == {"predictions": [100]}


async def test_models_are_listed_loaded_and_unloaded(tmp_path: Path) -> None:
    write(tmp_path, 1)
    repository = await folder_of(tmp_path)
    async with serving_repository(repository) as client:
        write(tmp_path / "other", 7)
        loaded = await client.post("/v2/repository/models/other/load")
        assert await loaded.json() == {"name": "other", "load": True}
        found = await (await client.post("/v1/models/other:predict", json={})).json()
        assert found == {"predictions": [7]}

        write(tmp_path / "other", 8)
        await client.post("/v2/repository/models/other/load")
        found = await (await client.post("/v1/models/other:predict", json={})).json()
        assert found == {"predictions": [8]}

        failed = await client.post("/v2/repository/models/nope/load")
        assert failed.status == 503
        assert "there is no folder nope" in (await failed.json())["error"]
        index = await (await client.post("/v2/repository/index")).json()
        only_ready = await (await client.post("/v2/repository/index", json={"ready": True})).json()

        unloaded = await client.post("/v2/repository/models/other/unload")
        assert await unloaded.json() == {"name": "other", "unload": True}
        assert (await client.get("/v1/models/other")).status == 404
        assert (await client.post("/v2/repository/models/other/unload")).status == 404
    assert [(entry["name"], entry["state"]) for entry in index] == [
        ("m", "READY"),
        ("other", "READY"),
        ("nope", "UNAVAILABLE"),
    ]
    assert "no folder nope" in index[2]["reason"]
    assert len(only_ready) == 2


@pytest.mark.parametrize("name", ["", ".new-m"])
async def test_a_folder_of_models_is_no_model_nor_is_one_that_is_being_brought(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / ".new-m", 7)
    repository = FolderRepository("", tmp_path, Numbered)
    async with serving_repository(repository) as client:
        failed = await client.post(f"/v2/repository/models/{name}/load")
        assert failed.status == 503
        assert "there is no folder" in (await failed.json())["error"]
        assert repository.get_models() == {}


async def test_a_model_that_cannot_be_loaded_again_goes_on_answering(tmp_path: Path) -> None:
    write(tmp_path, 1)
    async with serving_repository(await folder_of(tmp_path)) as client:
        (tmp_path / "value").unlink()
        failed = await client.post("/v2/repository/models/m/load")
        assert "has no file value" in (await failed.json())["error"]
        found = await (await client.post("/v1/models/m:predict", json={})).json()
        assert found == {"predictions": [1]}


async def test_a_request_may_be_a_cloudevent_and_is_answered_with_one() -> None:
    event = {"id": "1", "source": "here", "type": "ask", "specversion": "1.0"}
    data = {"instances": [[1, 2]]}
    async with serving(Doubler()) as client:
        url = "/v1/models/double:predict"
        structured = await client.post(url, json={**event, "data": data})
        headers = {f"ce-{name}": value for name, value in event.items()}
        plain = await client.post(url, json=data, headers=headers)
        found = await structured.json(content_type=None)
        assert structured.content_type == "application/cloudevents+json"
        assert await plain.json() == {"predictions": [6]}
    assert found["data"] == {"predictions": [6]}
    assert found["type"] == plain.headers["ce-type"] == "io.kserve.inference.response"
    assert plain.headers["ce-source"] == "io.kserve.inference.double"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.text(max_size=3) | JSON,
        "shape": st.lists(st.integers(-2, 4), max_size=3) | JSON,
        "datatype": st.sampled_from([*tensors.DATATYPES, "FP99"]) | JSON,
    },
    optional={
        "data": JSON | st.lists(st.integers(-3, 300) | st.floats() | st.text(max_size=2)),
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), JSON),
    },
)
V2 = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON},
    optional={
        "id": JSON,
        "parameters": JSON | st.dictionaries(st.just("binary_data_output"), JSON),
        "outputs": JSON | st.lists(st.fixed_dictionaries({"name": JSON})),
    },
)
V1 = st.fixed_dictionaries({"instances": JSON | st.lists(st.lists(JSON, max_size=3))})


async def test_no_request_whatever_it_holds_is_the_servers_fault() -> None:
    """Whatever is sent to a model that only fails on bad rows, the answer is 200, 400 or 404."""
    import asyncio

    cases: list[tuple[str, bytes, dict[str, str]]] = []

    @settings(max_examples=150, deadline=None, database=None)
    @given(
        st.sampled_from(["v2/models/double/infer", "v1/models/double:predict"]),
        (V1 | V2 | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
        st.binary(max_size=20),
        st.none() | st.integers(-5, 500),
    )
    def collect(path: str, body: bytes, raw: bytes, length: int | None) -> None:
        exact = len(body) if length is not None and length > 250 else length
        cases.append((path, body + raw, {} if exact is None else {HEADER: str(exact)}))

    await asyncio.to_thread(collect)
    async with serving(Doubler()) as client:
        for path, body, headers in cases:
            answer = await client.post(f"/{path}", data=body, headers=headers)
            found = await answer.read()
            assert answer.status in (200, 400, 404), (path, body, headers, found)
            if answer.status != 200:
                assert list(json.loads(found)) == ["error"]


@pytest.mark.parametrize("values", [[1, 2**63 + 1], [5, 2**64 - 1]])
def test_integers_of_any_size_are_not_rounded(values: list[int]) -> None:
    request = InferRequest("m", [InferInput("x", [2], "UINT64", values)])
    assert request.inputs[0].as_numpy().tolist() == values
    with pytest.raises(InvalidInput):
        InferInput("x", [1], "INT64", [float(2**63)]).as_numpy()


def test_texts_are_found_however_deep_their_lists_are() -> None:
    data: Any = ["a", "b"]
    for _ in range(5000):
        data = [data]
    assert InferInput("x", [2], "BYTES", data).as_numpy().tolist() == ["a", "b"]


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_arrays_survive_both_forms(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from([d for d in tensors.DATATYPES if d != "FP16"]))
    shape = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    size = int(np.prod(shape))
    if datatype == "BYTES":
        elements: Any = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    elif datatype == "BOOL":
        elements = st.booleans()
    elif datatype.startswith("FP"):
        elements = st.floats(width=int(datatype[2:]), allow_nan=False, allow_infinity=False)
    else:
        limits = np.iinfo(tensors.DATATYPES[datatype])
        elements = st.integers(int(limits.min), int(limits.max))
    values = data.draw(st.lists(elements, min_size=size, max_size=size))
    request = InferRequest("m", [InferInput("x", shape, datatype, values)])
    array = request.inputs[0].as_numpy()
    assert array.ravel().tolist() == values

    body, length = request.to_rest()
    assert length is None
    again = InferRequest.from_bytes(json.dumps(body).encode(), None, "m")  # type: ignore[arg-type]
    assert again.inputs[0].as_numpy().tolist() == array.tolist()

    request.inputs[0].set_data_from_numpy(array)
    body, length = request.to_rest()
    assert isinstance(body, bytes)
    again = InferRequest.from_bytes(body, length or 0, "m")
    found = again.inputs[0]
    assert (found.as_string() if datatype == "BYTES" else found.data) == values


@pytest.mark.parametrize("raw", [b"\x01", b"\x02\x00\x00\x00a", b"\xff\xff\xff\xff"])
def test_bytes_that_end_within_an_element_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="end within an element"):
        tensors.array_of_bytes("x", "BYTES", [1], raw)
