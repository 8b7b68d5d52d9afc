"""Models are answered by ONNX Runtime once that is proved to say the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.model_server import serving

from kubeling.serving.server.conversion.converters import to_onnx
from kubeling.serving.server.conversion.cutting import smaller
from kubeling.serving.server.conversion.keeping import Keeping, Known, Proof
from kubeling.serving.server.conversion.probes import probe_rows, sample_rows
from kubeling.serving.server.conversion.proof import Answer, equal, fitting
from kubeling.serving.server.conversion.twin import WATCHED, Twin, open_session
from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.tabular import TabularModel

HUGE = [[1e300, 1.0, 1.0, 1.0]]
"""Which 32 bits do not hold."""
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.8, 2.8, 4.8, 1.4]]


def _forest(folder: Path, features: Any, target: Any) -> None:
    joblib = pytest.importorskip("joblib")
    from sklearn.ensemble import RandomForestClassifier

    names = np.asarray(["setosa", "versicolor", "virginica"])
    made = RandomForestClassifier(20, random_state=0).fit(features, names[target])
    joblib.dump(made, folder / "model.joblib")


def _boosted(folder: Path, features: Any, target: Any) -> None:
    xgboost = pytest.importorskip("xgboost")
    settings = {"objective": "binary:logistic", "nthread": 1}
    data = xgboost.DMatrix(features, target > 0)
    xgboost.train(settings, data, 5).save_model(folder / "model.ubj")


def _light(folder: Path, features: Any, target: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    lightgbm.train(settings, lightgbm.Dataset(features, target), 50).save_model(folder / "m.txt")


def _loaded(format_name: str, folder: Path, keeping: Keeping | None = None) -> TabularModel:
    model = create_model(format_name, "iris", folder)
    assert isinstance(model, TabularModel)
    model.converting = True
    model.keeping = keeping
    model.load()
    model.ready = True
    return model


def _ended(model: TabularModel) -> str:
    deadline = time.monotonic() + 120
    while model.get_parameters()["onnx"] == "being made":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found: str = model.get_parameters()["onnx"]
    return found


@pytest.mark.parametrize(
    ("format_name", "train"), [("sklearn", _forest), ("xgboost", _boosted), ("lightgbm", _light)]
)
async def test_a_model_answers_the_same_before_and_after(
    format_name: str, train: Callable[..., None], tmp_path: Path
) -> None:
    pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxmltools")
    from sklearn.datasets import load_iris

    features, target = load_iris(return_X_y=True)
    folder, keeping = tmp_path / "model", Keeping(tmp_path / "kept")
    folder.mkdir()
    train(folder, features, target)
    model = _loaded(format_name, folder, keeping)
    before = np.asarray(model.predict_rows(features))
    told = model.get_input_types(), model.get_output_types()
    assert not _by_twin_alone(model)
    async with serving(model) as client:
        huge = await _asked(client, HUGE)
        assert equal((await _asked(client, ROWS))[1], model.predict_rows(np.asarray(ROWS)))
        assert _ended(model).startswith("yes: equal on 512 rows")
        for _ in range(3):
            # The first 256 rows are predicted by both.
            after = await _asked(client, features.tolist())
        assert _by_twin_alone(model)
        metadata = await (await client.get("/v2/models/iris")).json()
    assert equal(after[1], before)
    assert metadata["parameters"]["onnx"].startswith("yes")

    _kept(tmp_path / "kept")
    again = _loaded(format_name, folder, keeping)
    assert _by_twin_alone(again)
    assert (again.get_input_types(), again.get_output_types()) == told
    assert again.get_parameters()["onnx"].startswith("yes")
    async with serving(again) as client:
        assert equal((await _asked(client, features.tolist()))[1], before)
        found = await _asked(client, HUGE)
        assert not _by_twin_alone(again)
    assert found[0] == huge[0]
    assert np.array_equal(found[1], huge[1])

    (twin,) = (tmp_path / "kept").glob("*.onnx")
    twin.write_bytes(twin.read_bytes()[:-100])
    cut = _loaded(format_name, folder, keeping)
    assert not _by_twin_alone(cut)
    cut.stop()

    with next(folder.iterdir()).open("ab") as file:
        file.write(b" ")
    changed = _loaded(format_name, folder, keeping)
    assert not _by_twin_alone(changed)
    changed.stop()


def _opposites(tmp_path: Path) -> tuple[Path, Path, Any]:
    """The folders of two models that answer differently, and rows to ask them about."""
    pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_iris

    features, target = load_iris(return_X_y=True)
    folder, other = tmp_path / "model", tmp_path / "other"
    for place, labels in ((folder, target), (other, 2 - target)):
        place.mkdir()
        _forest(place, features, labels)
    return folder, other, features


async def test_rows_for_the_model_itself_are_refused_where_it_was_overwritten(
    tmp_path: Path,
) -> None:
    folder, other, features = _opposites(tmp_path)
    model = _loaded("sklearn", folder)
    assert _ended(model).startswith("yes")
    async with serving(model) as client:
        for _ in range(3):
            before = await _asked(client, features.tolist())
        assert _by_twin_alone(model)
        (other / "model.joblib").replace(folder / "model.joblib")
        status, error = await _asked(client, HUGE)
        assert status == 500
        assert "model.joblib changed since the model was loaded" in str(error)
        assert equal((await _asked(client, features.tolist()))[1], before[1])


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_what_adds_nothing_to_a_forest_is_not_in_its_twin(output: str) -> None:
    pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    features, target = load_digits(return_X_y=True)
    whole = to_onnx("sklearn", RandomForestClassifier(10).fit(features, target), 64)
    smallest, cut = smaller(whole, output)
    assert len(smallest) < len(cut) / 2
    rows = {"input": features.astype(np.float32)}
    (wanted,) = open_session(whole).run([output], rows)
    for file in (smallest, cut):
        assert np.array_equal(open_session(file).run(None, rows)[0], wanted)


def test_a_twin_is_kept_before_anybody_is_answered_by_it(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_iris

    class Noting(Keeping):
        def put(self, digest: str, proof: Proof, twin: bytes | None = None) -> None:
            states.append(model.get_parameters()["onnx"])
            super().put(digest, proof, twin)

    states: list[str] = []
    folder = tmp_path / "model"
    folder.mkdir()
    _forest(folder, *load_iris(return_X_y=True))
    model = _loaded("sklearn", folder, Noting(tmp_path / "kept"))
    assert _ended(model).startswith("yes")
    assert states == ["being made"]


def test_a_kept_twin_that_cannot_be_opened_is_made_anew(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_iris

    folder, kept = tmp_path / "model", tmp_path / "kept"
    folder.mkdir()
    _forest(folder, *load_iris(return_X_y=True))
    first = _loaded("sklearn", folder, Keeping(kept))
    assert _ended(first).startswith("yes")
    first.stop()
    (place,) = kept.glob("*.json")
    proof, _ = Keeping(kept).find(place.stem) or pytest.fail("nothing was kept")
    nonsense = b"no model"
    told = msgspec.structs.replace(proof, file=sha256(nonsense).hexdigest())
    Keeping(kept).drop(place.stem)
    Keeping(kept).put(place.stem, told, nonsense)
    assert _ended(_loaded("sklearn", folder, Keeping(kept))).startswith("yes")


class _Torn:
    """What cannot be read back."""

    def __reduce__(self) -> Any:
        return int, ("torn",)


def test_what_saved_a_model_is_in_the_log_of_one_that_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joblib = pytest.importorskip("joblib")
    import sklearn.base
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(sklearn.base, "__version__", "1.2.0")
    joblib.dump([LogisticRegression(), _Torn()], tmp_path / "model.joblib", compress=3)
    monkeypatch.undo()
    with (
        pytest.warns(UserWarning, match="LogisticRegression from version 1.2.0 when using"),
        pytest.raises(ModelLoadError, match="torn"),
    ):
        _loaded("sklearn", tmp_path)


@pytest.mark.filterwarnings("ignore:Trying to unpickle estimator")
async def test_a_model_says_what_saved_it_if_that_is_not_what_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skl2onnx")
    import joblib
    import sklearn.base
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, target = load_iris(return_X_y=True)
    folder, keeping = tmp_path / "model", Keeping(tmp_path / "kept")
    folder.mkdir()
    fitted, version = LogisticRegression(max_iter=500).fit(features, target), sklearn.__version__
    joblib.dump(fitted, folder / "model.joblib")
    assert "saved_with" not in _loaded("sklearn", folder).get_parameters()
    with monkeypatch.context() as older:
        older.setattr(sklearn.base, "__version__", "1.2.0")
        joblib.dump(fitted, folder / "model.joblib")
    model = _loaded("sklearn", folder, keeping)
    said = {"saved_with": "scikit-learn 1.2.0", "loaded_with": f"scikit-learn {version}"}
    assert model.get_parameters().items() >= said.items()
    async with serving(model) as client:
        assert _ended(model).startswith("yes")
        for _ in range(2):
            await _asked(client, features.tolist())
    _kept(tmp_path / "kept")
    alone = _loaded("sklearn", folder, keeping)
    assert _by_twin_alone(alone)
    assert alone.get_parameters().items() >= said.items()


def _kept(folder: Path) -> None:
    """Returns once it is written, in a thread, that the twin was watched for long enough."""
    deadline = time.monotonic() + 60
    while not any(_watched(path) >= WATCHED for path in folder.glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _watched(proof: Path) -> int:
    return msgspec.json.decode(proof.read_bytes(), type=Proof).watched


def _by_twin_alone(model: TabularModel) -> bool:
    return model.original is None


async def _asked(client: Any, rows: Any) -> tuple[int, Any]:
    answer = await client.post("/v1/models/iris:predict", json={"instances": rows})
    body = await answer.json()
    return answer.status, np.asarray(body["predictions"] if answer.status == 200 else body["error"])


def test_of_several_servers_the_first_twin_is_kept_and_the_longest_watch(tmp_path: Path) -> None:
    kept = Keeping(tmp_path)

    def proof(watched: int, twin: bytes) -> Proof:
        known, file = Known(2), sha256(twin).hexdigest()
        return Proof(Answer("variable", 0, "<f8"), 512, watched, known, file)

    kept.put("digest", proof(0, b"one"), b"one")
    kept.put("digest", proof(0, b"other"), b"other")
    for watched in (256, 100):
        kept.put("digest", proof(watched, b"one"))
        kept.put("digest", proof(watched + 1, b"other"))
    assert kept.find("digest") == (proof(256, b"one"), b"one")


def test_what_cannot_be_converted_runs_as_it_is_and_says_why(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    made = make_pipeline(FunctionTransformer(np.sort), LinearRegression())
    joblib.dump(made.fit(np.eye(3), [1, 2, 3]), tmp_path / "model.joblib")
    model = _loaded("sklearn", tmp_path)
    assert _ended(model).startswith("no: ")
    assert model.predict_rows(np.eye(3)).shape == (3,)


def test_a_model_that_is_not_to_be_converted_says_so(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    from sklearn.linear_model import LinearRegression

    joblib.dump(LinearRegression().fit(np.eye(3), [1, 2, 3]), tmp_path / "model.joblib")
    model = create_model("sklearn", "m", tmp_path)
    model.load()
    assert model.get_parameters() == {"onnx": "no: turned off"}


class _Session:
    """A twin that answers the first feature."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong
        self.rows = 0

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "input"})]

    def run(self, outputs: list[str], feed: dict[str, Any], _: Any = None) -> list[Any]:
        self.rows += len(feed["input"])
        return [feed["input"][:, :1] + self.wrong]


def _first(rows: Any) -> Any:
    return rows[:, 0].astype(float)


ANSWER = Answer("variable", 0, "<f8")


def test_the_first_rows_are_predicted_by_both_and_a_difference_ends_it() -> None:
    told: list[bool] = []
    twin = Twin(_Session(wrong=0.5), ANSWER, _first, told.append)
    rows = np.ones((4, 2))
    assert twin.predict(rows).tolist() == [1.0] * 4
    assert twin.given_up
    assert twin.predict(rows).tolist() == [1.0] * 4
    assert told == [False]


def test_rows_that_are_alike_end_the_watch() -> None:
    told: list[bool] = []
    twin = Twin(_Session(), ANSWER, _first, told.append, watched=250)
    rows = np.ones((4, 2))
    for _ in range(3):
        twin.predict(rows)
    assert told == [True]


@pytest.mark.parametrize(
    "rows", [np.array([[np.nan, 1.0]]), np.array([[1e300, 1.0]]), np.array([["a", "b"]])]
)
def test_rows_that_onnx_takes_for_others_go_to_the_model_itself(rows: Any) -> None:
    session = _Session()
    twin = Twin(session, ANSWER, lambda rows: rows[:, 0], lambda _: None)
    assert twin.predict(rows).tolist() == pytest.approx(rows[:, 0].tolist(), nan_ok=True)
    assert session.rows == 0


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200, unique=True),
)
def test_rows_are_made_on_both_sides_of_every_threshold(values: list[float]) -> None:
    rows = probe_rows(2, {1: np.asarray(values)})
    assert rows.shape == (512, 2)
    ordered = np.unique(values)
    places = np.searchsorted(ordered, rows[:, 1])
    gaps = np.flatnonzero(np.diff(ordered) > 1e-6) + 1
    assert {0, len(ordered), *gaps.tolist()} <= set(places.tolist())


def test_a_twin_of_other_files_than_were_loaded_is_not_taken(tmp_path: Path) -> None:
    folder, other, _ = _opposites(tmp_path)
    model = _loaded("sklearn", folder)
    (other / "model.joblib").replace(folder / "model.joblib")
    assert "changed while it was converted" in _ended(model)


def test_a_sample_beside_the_model_is_compared_too(tmp_path: Path) -> None:
    assert sample_rows(tmp_path, 2) is None
    (tmp_path / "sample.csv").write_text("a,b\n1,2\n3,4\n")
    found = sample_rows(tmp_path, 2)
    assert found is not None
    assert found.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=r"sample.csv must hold rows of 3 numbers"):
        sample_rows(tmp_path, 3)


def test_labels_must_be_equal_and_numbers_nearly() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    outputs = {"label": np.array([0, 1]), "probabilities": probabilities.astype("float32")}
    second = fitting(outputs, probabilities[:, 1])
    assert second == Answer("probabilities", 1, "<f8")
    assert fitting(outputs, np.array([0, 1])) == Answer("label", None, "<i8")
    assert fitting(outputs, np.array([1, 1])) is None
    assert fitting(outputs, probabilities + 0.001) is None
