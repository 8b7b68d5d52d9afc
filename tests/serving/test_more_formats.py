"""Formats of other languages and libraries: PMML, Keras' own files, Paddle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.test_formats import _loaded, _v1, _v2

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.formats.named_tensors import NamedTensorsModel, Spec

TREE = """<?xml version="1.0"?>
<PMML version="4.2" xmlns="http://www.dmg.org/PMML-4_2">
  <Header/>
  <DataDictionary numberOfFields="3">
    <DataField name="size" optype="continuous" dataType="double"/>
    <DataField name="colour" optype="categorical" dataType="string"/>
    <DataField name="kind" optype="categorical" dataType="string">
      <Value value="apple"/><Value value="melon"/>
    </DataField>
  </DataDictionary>
  <TreeModel modelName="fruit" functionName="classification" splitCharacteristic="binarySplit">
    <MiningSchema>
      <MiningField name="size" usageType="active"/>
      <MiningField name="colour" usageType="active"/>
      <MiningField name="kind" usageType="target"/>
    </MiningSchema>
    <Output>
      <OutputField name="p_melon" optype="continuous" dataType="double" feature="probability"
                   value="melon"/>
    </Output>
    <Node id="1" score="apple" recordCount="4">
      <True/>
      <ScoreDistribution value="apple" recordCount="2"/>
      <ScoreDistribution value="melon" recordCount="2"/>
      <Node id="2" score="apple" recordCount="2">
        <SimplePredicate field="size" operator="lessThan" value="10"/>
        <ScoreDistribution value="apple" recordCount="2"/>
        <ScoreDistribution value="melon" recordCount="0"/>
      </Node>
      <Node id="3" score="melon" recordCount="2">
        <SimplePredicate field="size" operator="greaterOrEqual" value="10"/>
        <ScoreDistribution value="apple" recordCount="0"/>
        <ScoreDistribution value="melon" recordCount="2"/>
      </Node>
    </Node>
  </TreeModel>
</PMML>
"""
APPLE, MELON = {"kind": "apple", "p_melon": 0.0}, {"kind": "melon", "p_melon": 1.0}


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    pytest.importorskip("pypmml")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java")
    (tmp_path / "fruit.pmml").write_text(TREE)
    return tmp_path


async def test_pmml_answers_with_the_target_and_the_declared_outputs(fruit: Path) -> None:
    model = _loaded("pmml", fruit)
    assert await _v1(model, [[3, "red"], [30.5, "green"]]) == {"predictions": [APPLE, MELON]}
    assert await _v1(model, [{"size": 30}]) == {"predictions": [MELON]}
    found = await _v2(
        model,
        {"name": "size", "datatype": "FP64", "shape": [2], "data": [3, 30]},
        {"name": "colour", "datatype": "BYTES", "shape": [2], "data": ["red", "green"]},
    )
    assert [(o["name"], o["data"]) for o in found["outputs"]] == [
        ("kind", ["apple", "melon"]),
        ("p_melon", [0.0, 1.0]),
    ]
    assert [entry["datatype"] for entry in model.get_input_types()] == ["FP64", "BYTES"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "a row has 2 values"),
        (["big", "red"], "field \"size\" takes a number, not 'big'"),
        ([[1], "red"], 'field "size" takes a single value, not a list'),
        ([1, {"r": 1}], 'field "colour" takes a single value, not a dict'),
        ([10**400, "red"], 'field "size" takes no number as large as this'),
        ([1, 1 << 63], 'field "colour" takes no number as large as this'),
        ({"weight": 1}, 'there is no field "weight"; fields: size, colour'),
    ],
)
async def test_rows_that_do_not_fit_a_pmml_model_are_refused(
    fruit: Path, row: Any, message: str
) -> None:
    assert message in (await _v1(_loaded("pmml", fruit), [row]))["error"]


def test_pmml_that_cannot_be_read_is_told(fruit: Path) -> None:
    (fruit / "fruit.pmml").write_text("<PMML")
    with pytest.raises(ModelLoadError, match=r"fruit\.pmml"):
        create_model("pmml", "m", fruit).load()


def _two_inputs(keras: Any, file: Path) -> None:
    first = keras.Input((2,), name="first")
    second = keras.Input((1,), name="second")
    both = keras.layers.Concatenate()([first, second])
    ones = keras.initializers.Ones()
    total = keras.layers.Dense(1, name="total", kernel_initializer=ones)(both)
    keras.Model({"first": first, "second": second}, total).save(file)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("torch")
    # Keras looks for TensorFlow, and takes what it is told.
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    return pytest.importorskip("keras")


async def test_a_keras_file_is_served_as_a_tensorflow_model(keras: Any, tmp_path: Path) -> None:
    ones = keras.initializers.Ones()
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer=ones)])
    made.save(tmp_path / "sum.keras")
    model = _loaded("tensorflow", tmp_path)
    assert await _v1(model, [[1, 2], [3, 4]]) == {"predictions": [[3.0], [7.0]]}
    found = await _v2(model, {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]})
    assert found["outputs"][0]["data"] == [3.0]
    assert model.get_input_types()[0]["shape"] == [-1, 2]
    assert "takes the shape [-1, 2]" in (await _v1(model, [[1, 2, 3]]))["error"]


async def test_a_keras_model_of_two_inputs(keras: Any, tmp_path: Path) -> None:
    _two_inputs(keras, tmp_path / "two.keras")
    model = _loaded("tensorflow", tmp_path)
    rows = [{"first": [1, 2], "second": [3]}]
    assert await _v1(model, rows) == {"predictions": [[6.0]]}
    assert "needs the inputs first, second" in (await _v1(model, [[1, 2]]))["error"]


def test_keras_runs_no_code_of_the_files_own(keras: Any, tmp_path: Path) -> None:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    made.save(tmp_path / "code.keras")
    with pytest.raises(ModelLoadError, match=r"code\.keras"):
        create_model("tensorflow", "m", tmp_path).load()


async def test_paddle_answers_by_the_names_of_its_tensors(tmp_path: Path) -> None:
    paddle = pytest.importorskip("paddle")
    made = paddle.nn.Linear(2, 1)
    made.weight.set_value(np.array([[1.0], [2.0]], "float32"))
    made.bias.set_value(np.array([0.5], "float32"))
    spec = [paddle.static.InputSpec([None, 2], "float32", name="rows")]
    paddle.jit.save(made, str(tmp_path / "linear"), input_spec=spec)
    model = _loaded("paddle", tmp_path)
    assert await _v1(model, [[1, 1], [0, 0]]) == {"predictions": [[3.5], [0.5]]}
    found = await _v2(model, {"name": "rows", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]})
    assert found["outputs"][0]["data"] == [5.5]
    assert model.get_input_types() == [{"name": "rows", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(
    ("format_name", "message"),
    [("pmml", r"exactly one \.pmml file"), ("paddle", r"exactly one \.pdmodel or \.json file")],
)
def test_an_empty_folder_is_told_what_belongs_there(
    format_name: str, message: str, tmp_path: Path
) -> None:
    pytest.importorskip({"pmml": "pypmml", "paddle": "paddle"}[format_name])
    with pytest.raises(ModelLoadError, match=message):
        create_model(format_name, "m", tmp_path).load()


class Backwards(NamedTensorsModel):
    """Bytes, and a number that says which of a request's they are."""

    def load(self) -> bool:
        sizes = (-1,)
        self.inputs = {"picture": Spec(sizes, np.dtype(object)), "key": Spec(sizes, np.dtype(int))}
        self.outputs = self.inputs
        return True

    def compute(self, given: Mapping[str, Any]) -> dict[str, Any]:
        turned = np.array([picture[::-1].hex() for picture in given["picture"]], dtype=object)
        return {"picture": turned, "key": given["key"]}


async def test_outputs_that_are_no_rows_of_one_number_say_so() -> None:
    class Uneven(Backwards):
        def compute(self, given: Mapping[str, Any]) -> dict[str, Any]:
            return {"picture": np.zeros((2, 3)), "key": np.float64(1)}

    model = Uneven("m")
    model.ready = model.load()
    answer = await _v1(model, [{"picture": {"b64": "AQIA"}, "key": 7}])
    assert answer["error"].endswith(
        "the outputs are no rows of one number: picture [2, 3], key []; ask over V2"
    )


async def test_bytes_come_as_tf_serving_takes_them() -> None:
    model = Backwards("m")
    model.ready = model.load()
    rows = [{"picture": {"b64": "AQIA"}, "key": 7}]
    assert await _v1(model, rows) == {"predictions": [{"picture": "000201", "key": 7}]}
    wrong = await _v1(model, [{"picture": {"b64": "?"}, "key": 7}])
    assert wrong == {"error": 'bytes are given as {"b64": "…"}, in base64'}
