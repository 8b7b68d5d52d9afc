"""Further model formats, each as its own library saves it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.model_server import serving

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.model import Model


def _loaded(format_name: str, folder: Path) -> Model:
    model = create_model(format_name, "m", folder)
    model.load()
    model.ready = True
    return model


async def _v1(model: Model, rows: Any) -> Any:
    async with serving(model) as client:
        answer = await client.post("/v1/models/m:predict", json={"instances": rows})
        return await answer.json()


async def _v2(model: Model, *tensors: dict[str, Any]) -> Any:
    async with serving(model) as client:
        answer = await client.post("/v2/models/m/infer", json={"inputs": list(tensors)})
        return await answer.json()


def _tensor(datatype: str, array: Any) -> dict[str, Any]:
    shape = list(np.shape(array))
    return {"name": datatype, "datatype": datatype, "shape": shape, "data": array}


def _linear(torch: Any) -> Any:
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight[:] = torch.tensor([[1.0, 2.0]])
        model.bias[:] = 0.5
    return model.eval()


def _torchscript(torch: Any, folder: Path) -> None:
    torch.jit.script(_linear(torch)).save(folder / "model.pt")


def _exported(torch: Any, folder: Path) -> None:
    rows = {"input": {0: torch.export.Dim("rows")}}
    made = torch.export.export(_linear(torch), (torch.zeros(2, 2),), dynamic_shapes=rows)
    torch.export.save(made, folder / "model.pt2")


def _archived(torch: Any, folder: Path) -> None:
    """As ``torch-model-archiver`` lays it out, in TorchServe's folder."""
    _torchscript(torch, folder)
    (folder / "config").mkdir()
    (folder / "config" / "config.properties").write_text("load_models=all\n")
    (folder / "model-store").mkdir()
    manifest = {"model": {"serializedFile": "model.pt", "handler": "image_classifier"}}
    with zipfile.ZipFile(folder / "model-store" / "m.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.write(folder / "model.pt", "model.pt")
    (folder / "model.pt").unlink()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("save", [_torchscript, _exported, _archived])
async def test_pytorch_models_answer_both_protocols(save: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save(torch, tmp_path)
    model = _loaded("pytorch", tmp_path)
    assert await _v1(model, [[1, 2], [3, 4]]) == {"predictions": [[5.5], [11.5]]}
    found = await _v2(model, _tensor("FP32", [[1.0, 2.0]]))
    assert found["outputs"][0] == {
        "name": "output-0",
        "shape": [1, 1],
        "datatype": "FP32",
        "data": [5.5],
    }
    assert "error" in await _v1(model, [[1, 2, 3]])
    assert await _v1(model, [["a", "b"]]) == {
        "error": "the model takes numbers, but these are text"
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_pytorch_models_may_take_and_give_several_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, left: Any, right: Any) -> Any:
            return left + right, left - right

    example = (torch.ones(2, dtype=torch.int64), torch.ones(2))
    torch.jit.trace(Two(), example).save(tmp_path / "model.pt")
    model = _loaded("pytorch", tmp_path)
    found = await _v2(model, _tensor("INT64", [1, 2]), _tensor("FP32", [0.5, 0.5]))
    assert [output["data"] for output in found["outputs"]] == [[1.5, 2.5], [0.5, 1.5]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_alone_and_code_for_torchserve_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(_linear(torch).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ModelLoadError, match="weights alone do not say what to compute"):
        _loaded("pytorch", tmp_path)
    (tmp_path / "model.pt").unlink()
    manifest = {"model": {"serializedFile": "model.pt", "handler": "my_handler.py"}}
    with zipfile.ZipFile(tmp_path / "m.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    with pytest.raises(ModelLoadError, match=r"m.mar has code for TorchServe \(my_handler.py\)"):
        _loaded("pytorch", tmp_path)


async def test_pipelines_that_go_by_the_names_of_columns_are_given_them(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    pd = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "colour": ["red", "blue", "red", "blue"]})
    by_name = ColumnTransformer([("c", OneHotEncoder(), ["colour"])], remainder="passthrough")
    made = make_pipeline(by_name, LinearRegression()).fit(table, [12.0, 4.0, 16.0, 8.0])
    joblib.dump(made, tmp_path / "model.joblib")
    model = _loaded("sklearn", tmp_path)
    assert model.get_parameters()["categories"] == {"colour": ["blue", "red"]}
    found = await _v1(model, [{"colour": "red", "size": 5}, {"size": 6, "colour": "blue"}])
    assert found["predictions"] == pytest.approx([20.0, 12.0])
    found = await _v2(model, _tensor("FP64", [5.0]) | {"name": "size"}, _colour("red"))
    assert found["outputs"][0]["data"] == pytest.approx([20.0])


async def test_catboost_answers_labels_or_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catboost = pytest.importorskip("catboost")
    made = catboost.CatBoostClassifier(iterations=5, verbose=False, allow_writing_files=False)
    rows = [[n, "red" if n % 2 else "blue"] for n in range(40)]
    made.fit(rows, ["odd" if n % 2 else "even" for n in range(40)], cat_features=[1])
    made.save_model(tmp_path / "model.cbm")
    model = _loaded("catboost", tmp_path)
    assert await _v1(model, [["3", "red"], ["4", "blue"]]) == {"predictions": ["odd", "even"]}
    monkeypatch.setenv("PREDICT_PROBA", "true")
    found = await _v1(_loaded("catboost", tmp_path), [["3", "red"]])
    assert np.argmax(found["predictions"], axis=1).tolist() == [1]


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_mlflow_models_take_rows_as_their_signature_says(tmp_path: Path) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    pd = pytest.importorskip("pandas")
    from mlflow.models import infer_signature

    class Price(pyfunc.PythonModel):  # type: ignore[name-defined, misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            extra = model_input["colour"].map({"red": 10.0, "blue": 0.0})
            return (model_input["size"] * 2 + extra).to_numpy()

    example = pd.DataFrame({"size": [1.5], "colour": ["red"]})
    signature = infer_signature(example, np.asarray([13.0]))
    pyfunc.save_model(
        tmp_path / "model", python_model=Price(), signature=signature, pip_requirements=[]
    )
    model = _loaded("mlflow", tmp_path)
    named = [{"colour": "red", "size": 1.5}, {"colour": "blue", "size": 2}]
    assert await _v1(model, named) == {"predictions": [13.0, 4.0]}
    found = await _v2(model, _tensor("FP64", [1.5]) | {"name": "size"}, _colour("blue"))
    assert found["outputs"][0]["data"] == [3.0]


def _colour(name: str) -> dict[str, Any]:
    return {"name": "colour", "datatype": "BYTES", "shape": [1], "data": [name]}


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]


def _bert(kind: str, folder: Path) -> Any:
    """A model of two hundred weights, and its tokenizer."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.BertConfig(
        vocab_size=len(WORDS), intermediate_size=4, is_decoder=kind == "BertLMHeadModel", **sizes
    )
    made = getattr(transformers, kind)(config)
    made.save_pretrained(folder)
    return made


async def test_transformers_classify_texts_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _bert("BertForSequenceClassification", tmp_path)
    made.classifier.bias.data[1] = 100.0
    made.save_pretrained(tmp_path)
    model = _loaded("huggingface", tmp_path)
    assert await _v1(model, ["good film", "bad"]) == {"predictions": [1, 1]}
    texts = {"name": "x", "datatype": "BYTES", "shape": [2], "data": ["good", "bad film"]}
    assert (await _v2(model, texts))["outputs"][0]["data"] == [1, 1]
    assert await _v1(model, [[1, 2]]) == {"error": "the model takes texts, one a row"}
    monkeypatch.setenv("PREDICT_PROBA", "true")
    found = await _v1(_loaded("huggingface", tmp_path), ["good"])
    assert found["predictions"][0][1] == pytest.approx(1.0)


async def test_transformers_fill_masks_and_embed(tmp_path: Path) -> None:
    for kind in ("BertForMaskedLM", "BertModel"):
        (tmp_path / kind).mkdir()
        _bert(kind, tmp_path / kind)
    filling = _loaded("huggingface", tmp_path / "BertForMaskedLM")
    assert (await _v1(filling, ["good [MASK]"]))["predictions"][0] in WORDS
    assert await _v1(filling, ["good film"]) == {"error": "every text needs a [MASK]"}
    embedding = _loaded("huggingface", tmp_path / "BertModel")
    vectors = np.asarray((await _v1(embedding, ["good", "bad film good"]))["predictions"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], rel=1e-5)


async def test_transformers_go_on_with_a_text(tmp_path: Path) -> None:
    made = _bert("BertLMHeadModel", tmp_path)
    made.cls.predictions.bias.data[WORDS.index("film")] = 100.0
    made.save_pretrained(tmp_path)
    found = await _v1(_loaded("huggingface", tmp_path), ["good", "bad film"])
    assert [set(text.split()) for text in found["predictions"]] == [{"film"}, {"film"}]


async def test_models_that_make_text_refuse_bytes_that_are_none(tmp_path: Path) -> None:
    _bert("BertLMHeadModel", tmp_path)
    size = {"binary_data_size": 5}
    tensor = {"name": "input-0", "shape": [1], "datatype": "BYTES", "parameters": size}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    body = head + b"\x01\x00\x00\x00\xff"
    async with serving(_loaded("huggingface", tmp_path)) as client:
        answer = await client.post("/v2/models/m/infer", data=body, headers=headers)
        assert answer.status == 400
        assert "no UTF-8" in (await answer.json())["error"]


def test_architectures_for_other_tasks_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"architectures": ["BertForMultipleChoice"]}')
    with pytest.raises(ModelLoadError, match="BertForMultipleChoice is for none of the tasks"):
        _loaded("huggingface", tmp_path)


@pytest.mark.parametrize(
    ("format_name", "message"),
    [
        ("pytorch", "exactly one .pt or .pth or .pt2 or .mar file"),
        ("catboost", "exactly one .cbm file"),
        ("mlflow", "a folder with one MLmodel file"),
        ("huggingface", "a folder with one config.json"),
    ],
)
def test_an_empty_folder_is_told_what_belongs_there(
    format_name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match=message):
        create_model(format_name, "m", tmp_path).load()


def test_onnx_runtime_reports_to_nobody_unless_asked(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    program = "from kubeling.serving.server.formats import library; library('onnxruntime')"
    variables = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=variables, check=True)
    assert not list(tmp_path.iterdir())


class Changed:
    """Whose attributes are others in this version."""

    def __init__(self) -> None:
        self.kept = 1

    def __setstate__(self, _: Any) -> None:
        raise ValueError("incompatible dtype:\n- expected: one\n- got: another")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "model.pkl is empty; save the model again"),
        (pickle.dumps(list(range(1000)))[:500], "it ends too early; was it copied whole"),
        (pickle.dumps(Changed()), r"dtype\); was it saved with another version of scikit-learn"),
        (b"csklearn.gone\nName\n.", "scikit-learn does not have; was it saved with another"),
        (b"c_loss_of_before\nName\n.", "scikit-learn does not have; was it saved with another"),
        (b"cmissing_package\nName\n.", "needs the Python package missing_package"),
        (b"c__main__\nMine\n.", "needs Mine, which is defined in the script that saved it"),
    ],
)
def test_a_pickle_that_cannot_be_read_says_what_is_wrong(
    content: bytes, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(ModelLoadError, match=message) as refused:
        create_model("sklearn", "m", tmp_path).load()
    assert "\n" not in str(refused.value)
