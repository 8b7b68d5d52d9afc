"""``kubeling serve`` and ``kubeling predict``: from a folder to an answer, or to the reason."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from tests.support.platform import Platform, started

from kubeling.cli.errors import CliError
from kubeling.cli.main import cli
from kubeling.cli.serving.formats import format_of
from kubeling.cli.serving.manifest import Served, changed, name_of, new_service
from kubeling.cli.serving.predict import request_of
from kubeling.cli.serving.view import View
from kubeling.gateway.models.progress import Progress
from kubeling.kube.objects import condition

ROW = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'

GRAPH = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "InferenceGraph",
    "metadata": {"name": "chain"},
    "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceName": "iris"}]}}},
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    folder = tmp_path_factory.mktemp("serve")
    model = DecisionTreeClassifier(random_state=0).fit(*load_iris(return_X_y=True))
    for place in ("iris", "broken"):
        (folder / place).mkdir()
        joblib.dump(model, folder / place / "model.joblib")
    file = folder / "broken" / "model.joblib"
    content = file.read_bytes().replace(b"sklearn.tree._classes", b"sklearn.tree._klasses")
    before = content.index(b"_sklearn_version")
    file.write_bytes(content[:before] + content[before:].replace(b"1.", b"0.", 1))
    with started(folder / "data", folder) as platform:
        yield platform


@pytest.mark.e2e
def test_a_folder_is_served_asked_and_given_another_model(platform: Platform) -> None:
    folder = platform.workspace / "iris"
    done = platform.kubeling("serve", str(folder), "--json")
    told = json.loads(done.stdout)
    assert (told["state"], told["traffic"]) == ("ready", {"iris-predictor-00001": 100})

    for request in (ROW, "[[5.1, 3.5, 1.4, 0.2]]"):
        assert platform.kubeling("predict", "iris", request).stdout == '{"predictions":[0]}\n'
    assert platform.kubeling("predict", "iris", stdin=ROW).stdout == '{"predictions":[0]}\n'
    tensor = {"name": "input-0", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}
    (platform.workspace / "request.json").write_text(json.dumps({"inputs": [tensor]}))
    answer = platform.kubeling("predict", "iris", "-f", str(platform.workspace / "request.json"))
    assert json.loads(answer.stdout)["outputs"][0]["data"] == [0]

    wrong = platform.kubeling("predict", "iris", '{"instances": [[5.1]]}', check=False)
    assert wrong.returncode == 1
    assert "answered 400: every row needs 4 features, but these have 1" in wrong.stderr
    assert "kubeling serve iris -n default --curl" in wrong.stderr
    unknown = platform.kubeling("predict", "irsi", ROW, check=False)
    assert '"irsi" not found' in unknown.stderr

    why = platform.kubeling("runtimes", "iris").stdout
    assert "✓ ClusterServingRuntime kserve-sklearnserver: no other runtime there fits" in why
    assert "kserve-xgbserver: it serves xgboost 1, xgboost 2" in why
    assert "kserve-sklearnserver" in platform.kubeling("runtimes").stdout

    line = platform.kubeling("serve", "iris", "--curl").stdout
    asked = subprocess.run([*shlex.split(line), "-s"], capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout) == {"predictions": [0]}

    platform.kubectl("apply", "-f", "-", stdin=json.dumps(GRAPH))
    platform.kubectl("wait", "inferencegraph/chain", "--for=condition=Ready", "--timeout=60s")
    for request in (ROW, "[[5.1, 3.5, 1.4, 0.2]]"):
        assert platform.kubeling("predict", "chain", request).stdout == '{"predictions":[0]}\n'
    refused = platform.kubeling("predict", "chain", "[[5.1]]", check=False)
    assert "chain, step root/0 (iris), answered 400: every row needs 4 features" in refused.stderr
    named = platform.kubeling("predict", "chain", ROW, "--model", "iris", check=False)
    assert "chain is a graph and has no model of its own" in named.stderr
    line = platform.kubeling("serve", "chain", "--curl").stdout
    asked = subprocess.run([*shlex.split(line), "-s"], capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout) == {"predictions": [0]}
    unknown = platform.kubeling("serve", "chian", "--curl", check=False)
    assert 'there is no "chian": neither a file or folder here, nor an' in unknown.stderr
    assert "kubeling get isvc -A, or kubeling get inferencegraphs -A" in unknown.stderr
    assert "chain" in platform.kubeling("get", "inferencegraphs", "-A").stdout

    again = platform.kubeling("serve", str(folder), "--json", "--min-replicas", "1")
    assert json.loads(again.stdout)["revision"] == "iris-predictor-00001", "nothing has changed"
    none = platform.kubeling("serve", str(folder), "--canary", "10").stdout
    assert "all of them, as the model has not changed" in none
    isvc = json.loads(platform.kubectl("get", "isvc", "iris", "-o", "json"))
    assert "canaryTrafficPercent" not in isvc["spec"]["predictor"], "nor of what comes next"
    other = platform.kubeling("serve", str(folder), "--format", "foo", check=False)
    assert "no serving runtime here serves models of format foo" in other.stderr
    assert "sklearn" in other.stderr
    assert json.loads(platform.kubectl("get", "isvc", "iris", "-o", "json"))["spec"] == isvc["spec"]
    (folder / "notes.md").write_text("a second try")
    canary = json.loads(platform.kubeling("serve", str(folder), "--json", "--canary", "25").stdout)
    assert canary["traffic"] == {"iris-predictor-00001": 75, "iris-predictor-00002": 25}
    whole = json.loads(platform.kubeling("serve", str(folder), "--json").stdout)
    assert whole["traffic"] == {"iris-predictor-00002": 100}


@pytest.mark.e2e
def test_an_earlier_revision_answers_as_before_though_its_folder_was_written_over(
    platform: Platform,
) -> None:
    import joblib
    from sklearn.dummy import DummyClassifier

    folder = platform.workspace / "constant"
    folder.mkdir()
    for answer, words in ((11, ()), (22, ("--canary", "50"))):
        model = DummyClassifier(strategy="constant", constant=answer)
        joblib.dump(model.fit([[0.0], [1.0]], [11, 22]), folder / "model.joblib")
        platform.kubeling("serve", str(folder), "--json", *words)
    pods, served = "serving.kserve.io/inferenceservice=constant", ("isvc", "constant")
    platform.kubectl("delete", "pods", "-l", pods)
    platform.kubectl("wait", "pods", "-l", pods, "--for=condition=Ready", "--timeout=60s")
    back = {"spec": {"predictor": {"canaryTrafficPercent": 0}}}
    platform.kubectl("patch", "isvc", "constant", "--type=merge", "-p", json.dumps(back))
    platform.until(lambda isvc: traffic(isvc).get("constant-predictor-00001") == 100, *served)
    answers = {platform.kubeling("predict", "constant", "[[0.5]]").stdout for _ in range(3)}
    assert answers == {'{"predictions":[11]}\n'}


@pytest.mark.e2e
def test_a_model_that_does_not_load_says_why_and_what_to_try(platform: Platform) -> None:
    done = platform.kubeling("serve", str(platform.workspace / "broken"), check=False)
    assert done.returncode == 1
    assert "✗ broken  failed" in done.stdout
    assert "sklearn.tree._klasses" in done.stderr
    assert "Try this: the model was saved with scikit-learn 0." in done.stderr
    line = platform.kubeling("serve", "--name", "broken", "nowhere", "--curl", check=False)
    assert line.stdout == ""
    assert "broken answers nobody now: " in line.stderr


@pytest.mark.e2e
def test_serving_a_stopped_service_starts_it(platform: Platform) -> None:
    folder = platform.workspace / "pausing"
    shutil.copytree(platform.workspace / "iris", folder)
    platform.kubeling("serve", str(folder))
    platform.kubectl("annotate", "isvc", "pausing", "serving.kserve.io/stop=true")
    platform.until(lambda o: condition(o, "Stopped") is not None, "isvc", "pausing")
    done = platform.kubeling("serve", str(folder))
    assert "✓ pausing  ready" in done.stdout
    assert platform.kubeling("predict", "pausing", ROW).returncode == 0
    platform.kubectl("delete", "isvc", "pausing")


def test_who_waits_for_room_is_told_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    view = View("iris")
    for doing in ("0/1 nodes are available: 1 Insufficient cpu.", "loading the model"):
        view.update(Progress("starting", doing, "iris-predictor-00001"))
    waits, hint, loads = capsys.readouterr().out.splitlines()
    assert "1 Insufficient cpu" in waits
    assert "Try this: There is not enough cpu" in hint
    assert "kubectl describe nodes" in hint
    assert "loading the model" in loads


def traffic(isvc: dict[str, Any]) -> dict[str, int]:
    entries = isvc["status"]["components"]["predictor"]["traffic"]
    return {entry["revisionName"]: entry["percent"] for entry in entries}


def manifest(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["serve", "--dry-run", *words])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = yaml.safe_load(done.output)
    return found


def test_the_service_says_what_the_words_say() -> None:
    words = ["--canary", "10", "--min-replicas", "0", "--max-replicas", "3", "--name", "flowers"]
    found = manifest("s3://bucket/iris.onnx", *words)
    assert found["metadata"]["name"] == "flowers"
    assert found["spec"]["predictor"] == {
        "model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://bucket/iris.onnx"},
        "canaryTrafficPercent": 10,
        "minReplicas": 0,
        "maxReplicas": 3,
    }


@pytest.mark.parametrize(
    ("files", "is_of"),
    [
        ({"model.joblib": b""}, "sklearn"),
        ({"model.pkl": b"", "README.md": b"x"}, "sklearn"),
        ({"model.onnx": b"", "config.json": b"{}"}, "onnx"),
        ({"model.bst": b"tree\nversion=v4\n"}, "lightgbm"),
        ({"model.txt": b"tree\nversion=v4\n", "notes.txt": b"a tree"}, "lightgbm"),
        ({"model.bst": b"\x00\x01"}, "xgboost"),
        ({"model.json": b'{"learner": {'}, "xgboost"),
        ({"1/saved_model.pb": b"", "2/saved_model.pb": b""}, "tensorflow"),
        ({"1/model.joblib": b"", "10/model.onnx": b""}, "onnx"),
        ({"MLmodel": b"", "model.pkl": b""}, "mlflow"),
    ],
)
def test_the_format_is_found_out(tmp_path: Path, files: dict[str, bytes], is_of: str) -> None:
    for title, content in files.items():
        (tmp_path / title).parent.mkdir(exist_ok=True)
        (tmp_path / title).write_bytes(content)
    assert format_of(tmp_path) == is_of


def test_a_folder_that_is_no_model_or_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="is empty"):
        format_of(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CliError, match=r"is known: config\.json"):
        format_of(tmp_path)
    (tmp_path / "a.onnx").touch()
    (tmp_path / "a.joblib").touch()
    with pytest.raises(CliError, match="could be a model of onnx or sklearn") as refused:
        format_of(tmp_path)
    assert "--format" in refused.value.hint


@pytest.mark.parametrize(
    ("place", "called"),
    [
        ("My Model/", "my-model"),
        ("/x/iris.joblib", "iris"),
        ("s3://b/churn_v2", "churn-v2"),
        ("1", "model-1"),
    ],
)
def test_a_service_is_named_after_its_model(place: str, called: str) -> None:
    assert name_of(place) == called


def test_who_serves_a_stopped_service_starts_it() -> None:
    before = new_service("iris", Served(uri="/models/iris", format_name="sklearn"))
    patch = changed(before, Served(uri="/models/other", format_name="sklearn"))
    assert patch["metadata"] == {"annotations": {"serving.kserve.io/stop": None}}


@pytest.mark.parametrize(
    ("text", "path", "sent"),
    [
        ("[[1, 2]]", "/v1/models/m:predict", {"instances": [[1, 2]]}),
        ('{"text": "hello"}', "/v1/models/m:predict", {"text": "hello"}),
        ('{"inputs": {"a": [1]}}', "/v1/models/m:predict", {"inputs": {"a": [1]}}),
        (
            '{"inputs": [{"name": "a", "datatype": "FP32"}]}',
            "/v2/models/m/infer",
            {"inputs": [{"name": "a", "datatype": "FP32"}]},
        ),
    ],
)
def test_the_protocol_is_the_requests(text: str, path: str, sent: Any) -> None:
    where, body = request_of(text, "m")
    assert (where, json.loads(body)) == (path, sent)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{'instances': []}", r"not JSON: .* at line 1, column 2"),
        ("3", "no JSON object or list"),
    ],
)
def test_what_is_no_request_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(CliError, match=says) as refused:
        request_of(text, "m")
    assert "kubeling predict iris" in refused.value.hint
