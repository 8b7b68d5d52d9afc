"""Which runtime serves a model."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.kube.objects import Obj
from kubeling.serving.runtime_choice import verdicts
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
        (model("pmml", "4"), "kserve-pmmlserver"),
        (model("paddle", "2"), "kserve-paddleserver"),
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


def test_each_runtime_is_told_why_it_was_chosen_or_not() -> None:
    named = runtime("by-name", {"name": "f", "autoSelect": False})
    given = [
        runtime("best", {"name": "f", "priority": 2}),
        runtime("second", {"name": "f", "priority": 1}),
        runtime("other", {"name": "g", "version": "1"}),
        runtime("off", {"name": "f"}, disabled=True),
        runtime("two", {"name": "f"}, protocolVersions=["v2"]),
        named,
    ]
    cluster = [runtime("far", {"name": "f"}) | {"kind": "ClusterServingRuntime"}]
    found = {v.name: v.reason for v in verdicts(model("f"), given, cluster)}
    assert next(iter(found)) == "best"
    assert found == {
        "best": "its priority 2 is above 1 of second",
        "second": "it fits, and another comes first",
        "far": "it fits, and another comes first",
        "off": "it is disabled",
        "other": "it serves g 1",
        "two": "it speaks v2, not v1",
        "by-name": (
            "it is chosen only where spec.predictor.model.runtime names it (autoSelect is off)"
        ),
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([runtime("a", {"name": "f"})], "no other runtime there fits"),
        (
            [
                runtime("a", {"name": "f"}, protocolVersions=["v1"]),
                runtime("b", {"name": "f"}),
            ],
            "it speaks a simpler protocol than b",
        ),
        ([runtime("a", {"name": "f"}), runtime("b", {"name": "f"})], "its name is before b"),
    ],
)
def test_the_choice_is_said_with_its_reason(given: list[Obj], why: str) -> None:
    chosen = select_runtime(model("f"), given, [])
    assert (chosen.name, chosen.why) == ("a", why)


def test_without_a_choice_each_runtime_says_what_is_against_it() -> None:
    found = verdicts(model("f", runtime="nope"), [], [runtime("a", {"name": "f"})])
    assert [(v.chosen, v.reason) for v in found] == [
        (False, "spec.predictor.model.runtime names nope")
    ]
    given = [runtime("a", {"name": "f"}), runtime("b", {"name": "g"})]
    found = verdicts(model("f", runtime="b"), given, [])
    assert {v.name: v.reason for v in found} == {
        "a": "spec.predictor.model.runtime names b",
        "b": "it serves g",
    }
