"""What is told of a served model: what it takes, how far it is, whether versions differ."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from kubeling.cli.serving.asking import curl_line
from kubeling.gateway.models.failure import Explanation
from kubeling.gateway.models.graph import details_of, service_at, steps_of
from kubeling.gateway.models.progress import progress_of
from kubeling.gateway.models.rest import cost_of, rests
from kubeling.gateway.models.signature import Signature, signature_of
from kubeling.gateway.models.skew import skew_of
from kubeling.gateway.models.traffic import revisions_of, summary_of
from kubeling.gateway.states import state_of


def signature(*inputs: tuple[str, str, list[int]], features: tuple[str, ...] = ()) -> Signature:
    named = [{"name": n, "datatype": d, "shape": s} for n, d, s in inputs]
    found = signature_of({"inputs": named, "parameters": {"features": list(features)}})
    assert found is not None
    return found


def test_a_model_of_rows_is_asked_by_v1() -> None:
    found = signature(("input-0", "FP64", [-1, 4]))
    assert found.path("iris") == "/v1/models/iris:predict"
    assert found.sample() == {"instances": [[0.0, 0.0, 0.0, 0.0]]}
    assert [title for title, _ in found.fields] == ["1", "2", "3", "4"]


def test_features_are_called_by_their_names() -> None:
    found = signature(("input-0", "FP64", [-1, 2]), features=("height", "width"))
    assert [title for title, _ in found.fields] == ["height", "width"]


def test_a_row_may_hold_text_beside_numbers() -> None:
    said = {"features": ["height", "colour"], "categories": {"colour": ["red", "blue"]}}
    rows = {"name": "input-0", "datatype": "FP64", "shape": [-1, 2]}
    found = signature_of({"inputs": [rows], "parameters": said})
    assert found is not None
    assert found.sample() == {"instances": [[0.0, "red"]]}
    assert [(title, tensor.datatype) for title, tensor in found.fields] == [
        ("height", "FP64"), ("colour", "BYTES"),
    ]  # fmt: skip
    assert found.request(["1.5", "blue"]) == {"instances": [[1.5, "blue"]]}


def test_a_model_of_named_columns_is_asked_by_v2() -> None:
    found = signature(("age", "INT64", [-1, 1]), ("town", "BYTES", [-1]))
    assert found.path("m") == "/v2/models/m/infer"
    assert found.sample() == {
        "inputs": [
            {"name": "age", "datatype": "INT64", "shape": [1, 1], "data": [[0]]},
            {"name": "town", "datatype": "BYTES", "shape": [1], "data": ["text"]},
        ]
    }
    assert [title for title, _ in found.fields] == ["age", "town"]


@pytest.mark.parametrize("shape", [[-1, 3, 8, 8], [-1, 1000], [-1, -1]])
def test_pictures_and_wide_rows_are_not_asked_for_value_by_value(shape: list[int]) -> None:
    assert signature(("x", "FP32", shape)).fields == ()


def test_no_request_of_many_thousand_values_is_shown() -> None:
    found = signature(("image", "FP32", [-1, 3, 224, 224]))
    assert curl_line("http://here", "resnet", found) == "curl http://here/v1/models/resnet"
    assert signature(("row", "FP32", [1, 10**12])).is_large


def test_a_model_that_says_nothing_has_no_signature() -> None:
    assert signature_of({"name": "m", "inputs": []}) is None


def service(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "m", "namespace": "default", "generation": 2},
        "spec": {"predictor": {}},
        "status": {
            "observedGeneration": 2,
            "components": {"predictor": {"latestCreatedRevision": "m-predictor-00002"}},
            **status,
        },
    }


def pod(revision: int = 2, **status: Any) -> dict[str, Any]:
    labels = {"serving.kubeling.io/revision": f"{revision:05d}", "component": "predictor"}
    return {"metadata": {"name": "p", "labels": labels}, "status": status}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
INIT = {"initContainerStatuses": [{"name": "storage-initializer", "state": {"running": {}}}]}
LOADING = {"containerStatuses": [{"name": "kserve-container", "state": {"running": {}}}]}
UNSCHEDULED = {
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]
}


@pytest.mark.parametrize(
    ("pods", "doing"),
    [
        ([], "waiting for a pod"),
        ([pod(1, **LOADING)], "waiting for a pod"),
        ([pod(**UNSCHEDULED)], "Insufficient cpu"),
        ([pod(**INIT)], "fetching the model"),
        ([pod()], "starting the server"),
        ([pod(**LOADING)], "loading the model"),
    ],
)
def test_it_says_what_is_waited_for(pods: list[dict[str, Any]], doing: str) -> None:
    found = progress_of(service(), pods)
    assert (found.state, found.doing, found.final) == ("starting", doing, False)


def test_what_the_node_says_a_pod_waits_for_goes_before_what_it_seems_to_do() -> None:
    said = "revision m-predictor-00002: persistentvolumeclaim x not found"
    waits = {"type": "Ready", "status": "Unknown", "reason": "PodPending", "message": said}
    assert progress_of(service(conditions=[waits]), [pod()]).doing == said


def test_an_older_generations_word_is_not_taken() -> None:
    assert progress_of(service(observedGeneration=1, **READY), []).state == "starting"
    assert progress_of(service(**READY), []).state == "ready"


def test_a_service_that_is_started_again_is_waited_for() -> None:
    stopped = {"type": "Ready", "status": "False", "reason": "Stopped", "message": "stopped"}
    found = progress_of(service(conditions=[stopped]), [])
    assert (found.state, found.doing, found.final) == ("starting", "starting again", False)


def test_a_spec_that_cannot_be_is_no_revisions_fault() -> None:
    model = {"transitionStatus": "InvalidSpec", "lastFailureInfo": {"message": "no runtime"}}
    found = progress_of(service(modelStatus=model), [pod(**LOADING)])
    assert (found.state, found.doing, found.revision) == ("failed", "no runtime", "")


def test_a_failed_load_ends_the_waiting() -> None:
    model = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": "no file"}}
    found = progress_of(service(modelStatus=model), [])
    assert (found.state, found.doing, found.final) == ("failed", "no file", True)


class _Estimator:
    """Carries the version of its library, as scikit-learn's estimators do."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_version_in_a_pickle_is_found_without_loading_it(tmp_path: Path, protocol: int) -> None:
    estimator = _Estimator()
    estimator.__dict__["_sklearn_version"] = "0.24.1"
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(estimator, protocol))
    found = skew_of("", tmp_path, lambda _: "1.9.1")
    assert found is not None
    assert (found.saved, found.loaded) == ("0.24.1", "1.9.1")
    assert skew_of("", tmp_path, lambda _: "0.24.1") is None


def test_a_file_that_may_not_be_read_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pkl").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "open", refuse)
    assert skew_of("", tmp_path, lambda _: "1.9.1") is None


def test_the_servers_log_tells_of_versions_too() -> None:
    said = "InconsistentVersionWarning: Trying to unpickle estimator SVC from version 1.2.0 when "
    found = skew_of(said + "using version 1.7.2. This might lead to breaking code")
    assert found is not None
    assert "saved with scikit-learn 1.2.0, and 1.7.2 loads it" in str(found)


def test_a_model_that_loads_tells_of_versions_too() -> None:
    rows = {"name": "input-0", "datatype": "FP64", "shape": [-1, 2]}
    said = {"saved_with": "scikit-learn 1.2.0", "loaded_with": "scikit-learn 1.7.2"}
    found = signature_of({"inputs": [rows], "parameters": said})
    assert found is not None
    assert "saved with scikit-learn 1.2.0, and 1.7.2 loads it" in str(found.skew)
    plain = signature_of({"inputs": [rows]})
    assert plain is not None
    assert plain.skew is None


def test_the_end_of_a_log_has_its_last_traceback_whole() -> None:
    lines = ["start", "Traceback (most recent call last):", *"abcdef", "ValueError: x"]
    assert Explanation(tuple(lines)).tail(5) == tuple(lines[1:])
    assert Explanation(tuple(lines)).tail(2) == ("f", "ValueError: x")


def test_words_become_values_of_the_models_types() -> None:
    rows = signature(("input-0", "FP64", [-1, 2]))
    assert rows.request(["1", "2.5"]) == {"instances": [[1.0, 2.5]]}
    columns = signature(("age", "INT64", [-1, 1]), ("town", "BYTES", [-1]), ("new", "BOOL", [-1]))
    sent = columns.request(["7", "Rome", "true"])["inputs"]
    assert [tensor["data"] for tensor in sent] == [[7], ["Rome"], [True]]
    with pytest.raises(ValueError, match=r"age: '7\.5' is no whole number"):
        columns.request(["7.5", "Rome", "true"])
    with pytest.raises(ValueError, match="2: 'nan' is no number"):
        rows.request(["1", "nan"])
    with pytest.raises(ValueError, match="1: '1e999' is no number"):
        rows.request(["1e999", "1"])
    with pytest.raises(ValueError, match="new: 'yes' is neither true nor false"):
        columns.request(["7", "Rome", "yes"])


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"replicas": 2}, "pending"),
        ({"replicas": 2, "readyReplicas": 1}, "ready"),
        ({"observedGeneration": 1}, "ready"),
    ],
)
def test_a_deployment_without_ready_pods_is_not_ready(status: Any, state: str) -> None:
    obj = {"kind": "Deployment", "metadata": {}, "spec": {}, "status": status}
    assert state_of(obj) == state


def test_a_pod_that_crashes_again_and_again_has_failed() -> None:
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    status = {"phase": "Running", "containerStatuses": [waiting]}
    assert state_of({"kind": "Pod", "metadata": {}, "spec": {}, "status": status}) == "failed"


def test_a_wide_row_is_pasted() -> None:
    found = signature(("x", "FP64", (-1, 30)))
    assert (found.fields, found.wide_row) == ((), 30)
    sent = found.row_request(", ".join(map(str, range(30))))
    assert sent == {"instances": [[float(n) for n in range(30)]]}
    with pytest.raises(ValueError, match="the row has 2 values, and the model takes 30"):
        found.row_request("1 2")
    with pytest.raises(ValueError, match="value 30: 'x' is no number"):
        found.row_request("0 " * 29 + "x")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((-1, 3, 32, 48), (48, 32, 3, True)),
        ((-1, 28, 28, 1), (28, 28, 1, False)),
        ((1, 28, 28), (28, 28, 1, True)),
        ((-1, 4), None),
        ((-1, 7, 32, 32), None),
        ((2, 2, 2, 2, 2), None),
    ],
)
def test_what_looks_like_a_picture_is_asked_for_one(shape: tuple[int, ...], size: Any) -> None:
    found = signature(("image", "FP32", shape)).picture
    shown = found and (found.width, found.height, found.channels, found.channels_first)
    assert shown == size
    assert signature(("image", "BYTES", shape)).picture is None


def deployment(revision: int, **annotations: str) -> dict[str, Any]:
    title = f"m-predictor-{revision:05d}"
    return {"metadata": {"name": title, "annotations": annotations}, "spec": {"replicas": 0}}


def test_revisions_have_their_share_their_counts_and_their_verdict() -> None:
    shares = [
        {"revisionName": "m-predictor-00001", "percent": 90},
        {"revisionName": "m-predictor-00002", "percent": 10, "latestRevision": True},
    ]
    counted = {
        "revisions": {
            "m-predictor-00002": {
                "requests": 80,
                "errors": 40,
                "recent": {"requests": 8, "errors": 2},
                "p99_ms": 3.5,
            }
        },
        "demand": {"m-predictor-00002": {"in_flight": 1, "per_second": [9] * 110 + [4] * 10}},
    }
    rejected = deployment(2, **{"serving.kubeling.io/rejected": "25% failed"})
    isvc = service(components={"predictor": {"traffic": shares}})
    newest, before = revisions_of(isvc, counted, [pod(2)], [deployment(1), rejected])
    assert (newest.percent, newest.latest, newest.pods, newest.in_flight) == (10, True, 1, 1)
    assert (newest.rate, newest.error_share, newest.p99) == (4.0, 25.0, 3.5)
    assert newest.rejected == "25% failed"
    assert (before.percent, before.latest, before.requests, before.rate) == (90, False, 0, 0.0)


def test_a_list_has_the_requests_of_all_revisions_of_a_model_together() -> None:
    shares = [{"revisionName": f"m-predictor-0000{n}", "percent": 50} for n in (1, 2)]
    recent = {"recent": {"requests": 10, "errors": 1}, "p99_ms": 7.0}
    counted = {"revisions": {"m-predictor-00001": recent, "m-predictor-00002": recent}}
    found = summary_of(service(components={"predictor": {"traffic": shares}}), counted)
    assert (found.answers, found.error_share, found.p99) == (20, 10.0, 7.0)
    assert [share.percent for share in found.shares] == [50, 50]


def test_a_list_says_why_a_model_is_not_ready_and_which_rest() -> None:
    waits = {"type": "Ready", "status": "Unknown", "message": "no such claim"}
    assert summary_of(service(conditions=[waits]), {}).why == "no such claim"
    assert summary_of(service(**READY), {}).why == ""
    resting = deployment(1, **{"serving.kubeling.io/at-rest": "true"})
    waking = deployment(2, **{"serving.kubeling.io/at-rest": "waking"})
    found = rests([], [resting])
    assert list(found.values()) == ["at rest"]
    assert summary_of(service(**READY), {}, *found.values()).state == "at rest"
    assert list(rests([], [waking, resting]).values()) == ["waking"]
    assert rests([pod()], [resting]) == {}


def test_a_graph_is_drawn_with_what_its_nodes_ask() -> None:
    nodes = {
        "root": {
            "routerType": "Sequence",
            "steps": [{"serviceName": "a"}, {"nodeName": "split", "data": "$response"}],
        },
        "split": {
            "routerType": "Splitter",
            "steps": [
                {"serviceName": "b", "name": "most", "weight": 80, "dependency": "Hard"},
                {"nodeName": "root", "weight": 20},
            ],
        },
    }
    graph = {"spec": {"nodes": nodes}}
    steps = {step.id: step for step in steps_of(graph, {"a": "ready", "b": "failed"}.__getitem__)}
    assert {key: step.label for key, step in steps.items()} == {
        "root": "root · Sequence",
        "root/0": "a",
        "root/1": "split (given response) · Splitter",
        "root/1/0": "most: b",
        "root/1/1": "root",
    }
    assert steps["root/1"].after == ("root/0",)
    assert steps["root/1/0"].state == "failed"
    assert details_of(graph)["root/1/0"] == "80%, hard"
    assert [service_at(graph, key) for key in ("root/0", "root/1/1")] == ["a", ""]


def test_a_canary_beside_the_predictor_is_counted_under_its_revision() -> None:
    shares = [
        {"revisionName": "m-predictor-00001", "latestRevision": True, "percent": 80},
        {"revisionName": "m-predictor-00002", "percent": 20, "tag": "v2"},
    ]
    isvc = service(components={"predictor": {"traffic": shares}})
    isvc["spec"]["canary"] = [{"trafficPercent": 20, "predictor": {"name": "v2"}}]
    of_canary = deployment(2)
    of_canary["metadata"]["name"] = "m-v2-predictor"
    of_canary["metadata"]["labels"] = {
        "serving.kubeling.io/variant": "v2",
        "serving.kubeling.io/revision": "00002",
    }
    counted = {"revisions": {"m-predictor-00002": {"requests": 5}}}
    canary, stable = revisions_of(isvc, counted, [pod(2)], [deployment(1), of_canary])
    assert (canary.canary, canary.percent, canary.requests, canary.pods) == ("v2", 20, 5, 1)
    assert (canary.latest, stable.latest) == (False, True)
    assert stable.percent == 80


def test_what_a_service_costs_and_what_rest_would_save() -> None:
    isvc = service()
    isvc["spec"]["predictor"] = {"minReplicas": 0, "maxReplicas": 3}
    running = pod(
        conditions=[
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}
        ],
        containerStatuses=[{"state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}],
    )
    used = [{"containers": [{"usage": {"memory": "143360Ki"}}]}]
    cost = cost_of(isvc, [running], [deployment(2)], used, 2)
    assert (cost.state, cost.rests, cost.pods, cost.high, cost.wakes) == ("awake", True, 1, 3, 2)
    assert (cost.memory_mib, cost.starts, cost.window) == (140.0, 3.0, 60.0)
    resting = deployment(2, **{"serving.kubeling.io/at-rest": "true"})
    assert cost_of(isvc, [], [resting], [], 2).state == "at rest"


def test_a_language_model_that_does_not_load_has_failed() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "ModelLoadFailed"}
    kind = "LLMInferenceService"
    obj = {"kind": kind, "metadata": {}, "spec": {}, "status": {"conditions": [ready]}}
    assert state_of(obj) == "failed"
