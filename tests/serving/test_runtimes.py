"""Which runtime serves a model."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.kube.objects import Obj
from kubeling.serving.runtimes import RuntimeNotFound, builtin_runtimes, select_runtime


def runtime(name: str, *formats: Obj, **spec: Any) -> Obj:
    return {
        "kind": "ServingRuntime",
        "metadata": {"name": name},
        "spec": {
            "supportedModelFormats": [{"autoSelect": True, **f} for f in formats],
            "containers": [{"name": "kserve-container", "image": "x"}],
            **spec,
        },
    }


def model(name: str, version: str | None = None, **fields: Any) -> Obj:
    return {"modelFormat": {"name": name, **({"version": version} if version else {})}, **fields}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (model("sklearn"), "kserve-sklearnserver"),
        (model("sklearn", "1.0"), "kserve-sklearnserver"),
        (model("sklearn", protocolVersion="v2"), "kserve-sklearnserver"),
        (model("xgboost", "2"), "kserve-xgbserver"),
        (model("lightgbm"), "kserve-lgbserver"),
        (model("tensorflow", "2.16"), "kserve-tensorflow-serving"),
        (model("onnx", protocolVersion="v2"), "kubeling-onnxserver"),
        (model("pytorch", runtime="kserve-torchserve"), "kserve-torchserve"),
        (model("mlflow", "2"), "kserve-mlserver"),
        (model("sklearn", runtime="kserve-mlserver", protocolVersion="v2"), "kserve-mlserver"),
        (model("xgboost", "2", runtime="kserve-predictiveserver"), "kserve-predictiveserver"),
        (model("huggingface", protocolVersion="v2"), "kserve-huggingfaceserver"),
        (model("catboost"), "kubeling-catboostserver"),
    ],
)
def test_the_built_in_runtimes_serve_the_common_formats(wanted: Obj, expected: str) -> None:
    assert select_runtime(wanted, [], builtin_runtimes()).name == expected


def test_a_runtime_of_the_namespace_wins_over_the_cluster() -> None:
    own = runtime("own", {"name": "sklearn"})
    assert select_runtime(model("sklearn"), [own], builtin_runtimes()).name == "own"


def test_the_higher_priority_wins() -> None:
    low = runtime("a", {"name": "f", "priority": 1})
    high = runtime("b", {"name": "f", "priority": 2})
    assert select_runtime(model("f"), [], [low, high]).name == "b"


def test_a_runtime_that_is_not_auto_selected_can_be_named() -> None:
    shy = runtime("shy", {"name": "f", "autoSelect": False})
    with pytest.raises(RuntimeNotFound, match='no runtime serves model format "f"'):
        select_runtime(model("f"), [shy], [])
    assert select_runtime(model("f", runtime="shy"), [shy], []).name == "shy"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (model("f", runtime="nope"), "RuntimeNotRecognized"),
        (model("f", runtime="off"), "RuntimeDisabled"),
        (model("g", runtime="on"), "NoSupportingRuntime"),
        (model("f", protocolVersion="grpc-v2", runtime="on"), "NoSupportingRuntime"),
        (model("f", "9"), "NoSupportingRuntime"),
    ],
)
def test_why_no_runtime_fits(wanted: Obj, reason: str) -> None:
    given = [
        runtime("off", {"name": "f"}, disabled=True),
        runtime("on", {"name": "f", "version": "1"}, protocolVersions=["v1"]),
    ]
    with pytest.raises(RuntimeNotFound) as found:
        select_runtime(wanted, given, [])
    assert found.value.reason == reason


def test_a_protocol_is_chosen_where_none_is_asked_for() -> None:
    only_v2 = runtime("two", {"name": "f"}, protocolVersions=["v2"])
    assert select_runtime(model("f"), [only_v2], []).protocol == "v2"
