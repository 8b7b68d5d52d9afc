"""Serving on the whole platform, driven as a user would: kubectl and HTTP, nothing played."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]
ROW = [5.1, 3.5, 1.4, 0.2]
EXAMPLES = Path(__file__).parents[2] / "examples" / "serving"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions of a model and the data they were trained on."""
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.datasets import load_iris

    folder = tmp_path_factory.mktemp("workspace")
    features, target = load_iris(return_X_y=True)
    for version, strength in (("v1", 1.0), ("v2", 0.5)):
        (folder / version).mkdir()
        model = linear.LogisticRegression(C=strength, max_iter=500).fit(features, target)
        joblib.dump(model, folder / version / "model.joblib")
    rows = "\n".join(",".join(map(str, row)) for row in features.tolist())
    (folder / "reference.csv").write_text(f"a,b,c,d\n{rows}\n")
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, workspace: Path) -> Iterator[Platform]:
    with started(tmp_path_factory.mktemp("data") / "platform", workspace) as found:
        yield found


def apply(platform: Platform, obj: Obj) -> None:
    platform.run("kubectl", "apply", "-f", "-", stdin=json.dumps(obj))


def isvc(name: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def is_ready(obj: Obj) -> bool:
    status = obj.get("status") or {}
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    return status.get("observedGeneration") == obj["metadata"]["generation"] and ready == ["True"]


def traffic(obj: Obj) -> list[int]:
    predictor = ((obj.get("status") or {}).get("components") or {}).get("predictor") or {}
    return [entry["percent"] for entry in predictor.get("traffic") or ()]


def ask(platform: Platform, name: str, rows: list[list[float]]) -> tuple[Obj, str]:
    """The answer, and the revision that gave it."""
    request = urllib.request.Request(
        f"{platform.url}/serving/default/{name}/v1/models/{name}:predict",
        json.dumps({"instances": rows}).encode(),
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer), answer.headers["x-kubeling-revision"]


def test_a_canary_from_apply_to_the_drift_of_its_requests(
    platform: Platform, workspace: Path
) -> None:
    def predictor(version: str, **fields: Any) -> Obj:
        model = {"storageUri": str(workspace / version)}
        return isvc("iris", predictor={"sklearn": model, "logger": {}, **fields})

    apply(platform, predictor("v1"))
    platform.until(is_ready, "isvc", "iris")
    assert ask(platform, "iris", [ROW]) == ({"predictions": [0]}, "iris-predictor-00001")

    apply(platform, predictor("v2", canaryTrafficPercent=10))
    platform.until(lambda o: is_ready(o) and traffic(o) == [10, 90], "isvc", "iris")
    answers = Counter(ask(platform, "iris", [ROW])[1] for _ in range(50))
    assert answers == {"iris-predictor-00001": 45, "iris-predictor-00002": 5}

    command = ["python", "-m", "kubeling.serving.drift", "--reference", "reference.csv"]
    for number in (1, 2):
        command += ["--log", f"http://iris-predictor-{number:05d}/v1/models/iris/requests"]
    command += ["--output", "report.json"]
    container = {"name": "drift", "image": "kubeling/drift", "command": command}
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "drift-check", "namespace": "default"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
    apply(platform, job)
    platform.until(lambda o: bool((o.get("status") or {}).get("succeeded")), "job", "drift-check")
    report = json.loads((workspace / "report.json").read_text())
    assert report["rows"] == 51

    apply(platform, predictor("v2"))
    platform.until(lambda o: is_ready(o) and traffic(o) == [100], "isvc", "iris")
    assert ask(platform, "iris", [ROW])[1] == "iris-predictor-00002"
    platform.kubectl("delete", "isvc", "iris")


def test_the_first_example_needs_nothing_but_its_file(platform: Platform) -> None:
    platform.kubectl("apply", "-f", str(EXAMPLES / "sklearn.yaml"))
    platform.until(is_ready, "isvc", "iris")
    assert ask(platform, "iris", [ROW])[0] == {"predictions": [0]}
    platform.kubectl("delete", "-f", str(EXAMPLES / "sklearn.yaml"))


def test_an_artifact_is_served_from_where_the_platform_keeps_it(
    platform: Platform, workspace: Path
) -> None:
    kept = platform.data_dir / "artifacts" / "run-1" / "model"
    shutil.copytree(workspace / "v1", kept)
    apply(platform, isvc("kept", predictor={"sklearn": {"storageUri": kept.as_uri()}}))
    platform.until(is_ready, "isvc", "kept")
    assert ask(platform, "kept", [ROW])[0] == {"predictions": [0]}
    platform.kubectl("delete", "isvc", "kept")


def test_many_models_are_served_by_one_server(platform: Platform, workspace: Path) -> None:
    def model(title: str) -> Obj:
        source = {"storageUri": str(workspace / title), "framework": "sklearn", "memory": "64Mi"}
        return {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "TrainedModel",
            "metadata": {"name": title, "namespace": "default"},
            "spec": {"inferenceService": "many", "model": source},
        }

    for obj in (model("v1"), isvc("many", predictor={"sklearn": {}}), model("v2")):
        apply(platform, obj)
    for title in ("v1", "v2"):
        platform.until(is_ready, "trainedmodel", title)
        request = urllib.request.Request(
            f"{platform.url}/serving/default/many/v1/models/{title}:predict",
            json.dumps({"instances": [ROW]}).encode(),
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer) == {"predictions": [0]}
    platform.kubectl("delete", "isvc", "many")


def test_a_monitor_reaches_its_predictor_by_name(platform: Platform, workspace: Path) -> None:
    predictor = {"sklearn": {"storageUri": f"file://{workspace}/v1"}}
    monitor = {"containers": [{"image": "model-monitor:latest"}]}
    apply(platform, isvc("watched", predictor=predictor, transformer=monitor))
    platform.until(is_ready, "isvc", "watched")
    assert ask(platform, "watched", [ROW])[0] == {"predictions": [0]}
    url = f"{platform.url}/serving/default/watched/v1/models/watched/drift"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert json.load(answer)["requests"] == 1
    platform.kubectl("delete", "isvc", "watched")


def test_a_missing_file_and_an_unfit_one_are_named(platform: Platform, workspace: Path) -> None:
    for name, uri, expected in (
        ("nowhere", str(workspace / "v3"), "does not exist on the machine"),
        ("unfit", str(workspace), "is exactly one .joblib or .pkl or .pickle file"),
    ):
        apply(platform, isvc(name, predictor={"sklearn": {"storageUri": uri}}))
        found = platform.until(lambda o, e=expected: e in str(o.get("status")), "isvc", name)
        assert found["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(platform, name, [ROW])
        assert refused.value.code == 503
        assert expected in json.load(refused.value)["error"]
        platform.kubectl("delete", "isvc", name)


def test_an_autoscaler_of_the_old_group_scales_to_its_minimum(
    platform: Platform, workspace: Path
) -> None:
    predictor = {"sklearn": {"storageUri": str(workspace / "v1")}}
    legacy = isvc("my-model", predictor=predictor)
    legacy["apiVersion"] = "serving.kubeflow.org/v1beta1"
    apply(platform, legacy)
    target = {key: legacy[key] for key in ("apiVersion", "kind")} | {"name": "my-model"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "my-model", "namespace": "default"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 10},
    }
    apply(platform, autoscaler)
    platform.until(
        lambda o: is_ready(o) and o["status"].get("replicas") == 2,
        "inferenceservices.serving.kubeflow.org",
        "my-model",
    )


_REVISION = "drifting-predictor-00001"
_DRIFT_PAGE = "/objects/serving.kserve.io/v1beta1/InferenceService/default/drifting/drift"


def test_drift_becomes_a_condition_and_starts_one_retraining(
    platform: Platform, workspace: Path
) -> None:
    features = [
        [float(value) for value in line.split(",")]
        for line in (workspace / "reference.csv").read_text().splitlines()[1:]
    ]
    platform.run(
        sys.executable,
        *("-m", "kubeling.serving.drift", "--profile", str(workspace / "reference.csv")),
        *("--reference", str(workspace / "v1")),
    )
    template = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "train", "namespace": "default"},
        "spec": {
            "entrypoint": "main",
            "templates": [{"name": "main", "suspend": {}}],
        },
    }
    model = {"storageUri": f"file://{workspace}/v1"}
    watched = isvc("drifting", predictor={"sklearn": model, "logger": {"url": "metadata://"}})
    watched["metadata"]["annotations"] = {
        "serving.kubeling.io/monitoring": "window=200",
        "serving.kubeling.io/retrain": "WorkflowTemplate/train",
    }
    apply(platform, template)
    apply(platform, watched)
    platform.until(is_ready, "isvc", "drifting")

    def asked_until(status: str, rows: list[list[float]]) -> Obj:
        # The window is what the model was asked lately, so it is asked until that is seen.
        for _ in range(300):
            for start in range(0, len(rows), 50):
                ask(platform, "drifting", rows[start : start + 50])
            found = platform.object("isvc", "drifting")
            conditions = found["status"].get("conditions") or ()
            if [c["status"] for c in conditions if c["type"] == "DataDrift"] == [status]:
                return found
        raise AssertionError(f"DataDrift never became {status}: {found}")

    asked_until("False", features)
    moved = [[a, b, c + 5 + a / 100, d] for a, b, c, d in features]
    said = asked_until("True", moved)
    message = next(c["message"] for c in said["status"]["conditions"] if c["type"] == "DataDrift")
    assert message == f"{_REVISION}: drifted from the profile kept with the model: c"
    started = platform.until(
        lambda obj: "serving.kubeling.io/retrained" in obj["metadata"]["annotations"],
        *("isvc", "drifting"),
    )["metadata"]["annotations"]["serving.kubeling.io/retrained"]
    label = "serving.kubeling.io/inferenceservice=drifting"
    runs = json.loads(platform.kubectl("get", "wf", "-l", label, "-o", "json"))["items"]
    assert [f"Workflow/{run['metadata']['name']}" for run in runs] == [started.split()[1]]
    with urllib.request.urlopen(f"{platform.url}/api/serving/default/drifting/drift") as answer:
        report = json.load(answer)["revisions"][_REVISION]
    assert report["drifted"] == ["c"]
    with urllib.request.urlopen(f"{platform.url}{_DRIFT_PAGE}") as page:
        assert message in page.read().decode()
    path = "/api/serving/default/drifting/requests?kind=response&limit=1"
    with urllib.request.urlopen(f"{platform.url}{path}") as answer:
        found = json.load(answer)["requests"][0]
    assert (found["status"], len(found["data"]["predictions"])) == (200, 50)
    platform.kubectl("delete", "isvc,wftmpl,wf", "--all")
