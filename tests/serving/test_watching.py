"""How requests of a monitored model are judged, and what follows."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from kubeling.monitoring.registry import Registry
from kubeling.serving.drift.profile import Profile, profile_of
from kubeling.serving.server.sampling import Feedback, Sample, Samples
from kubeling.serving.watching import metrics
from kubeling.serving.watching.quality import Quality
from kubeling.serving.watching.settings import MonitoringSettings, is_monitored, validate_monitoring
from kubeling.serving.watching.triggers import run_name, run_of
from kubeling.serving.watching.verdict import judged_before, verdict_of
from kubeling.serving.watching.watch import Watch, WatchState

NOW = "2026-01-01T00:00:00Z"
NAMES = ["length", "width"]


def rows(seed: int, count: int, shift: float = 0.0) -> list[list[float]]:
    found: list[list[float]] = np.random.default_rng(seed).normal(shift, 1.0, (count, 2)).tolist()
    return found


def reference() -> Profile:
    data = np.asarray(rows(0, 500))
    return profile_of(data, NAMES, data[:, 0] > 0)


def watch(state: WatchState | None = None, **settings: Any) -> Watch:
    return Watch(MonitoringSettings(**settings), lambda: NOW, state)


def shown(found: list[list[float]], **fields: Any) -> Samples:
    predictions = [row[0] > 0 for row in found]
    samples = [
        Sample(rows=[row], predictions=[p]) for row, p in zip(found, predictions, strict=True)
    ]
    return Samples(requests=len(found), samples=samples, **fields)


def judged(found: Watch, before: str = "") -> tuple[str, str]:
    found.assess()
    verdict = verdict_of(found.report, found.positive, before)
    return verdict.status, verdict.message


@pytest.mark.parametrize(("features", "called"), [(NAMES, NAMES), (["one"], ["0", "1"])])
def test_features_are_called_what_the_model_calls_them(
    features: list[str], called: list[str]
) -> None:
    found = watch(window=1000)
    found.take(shown(rows(1, 1000), features=features))
    assert judged(found) == ("False", "requests look like the first 1000 rows")
    assert list(found.report["features"]) == called


def test_drift_is_said_after_two_verdicts_and_ends_when_the_window_does() -> None:
    found = watch(window=300)
    found.refer_to(reference(), "the training data")
    status, message = judged(found)
    assert status == "Unknown"
    assert "pods that began before monitoring was turned on sample none" in message
    found.take(shown(rows(1, 50)))
    assert judged(found) == ("Unknown", "too few rows were sampled to tell")
    found.take(shown(rows(1, 200)))
    assert judged(found) == ("False", "requests look like the training data")
    found.take(shown(rows(2, 300, 2.0)))
    status, message = judged(found, "False")
    assert (status, message[:20]) == ("False", "requests differ from")
    found.take(shown(rows(3, 10, 2.0)))
    status, message = judged(found, "False")
    assert status == "True"
    assert message == "drifted from the training data: length, width, and the predictions"
    found.take(shown(rows(4, 300)))
    assert judged(found, "True")[0] == "False"


def test_what_was_said_stands_while_nothing_can_be_told() -> None:
    verdict = verdict_of({"enough": False}, 0, "True")
    assert (verdict.status, verdict.reason) == ("True", "Unchanged")


def test_without_a_reference_the_first_rows_become_it() -> None:
    found = watch()
    found.take(shown(rows(1, 600)))
    assert judged(found) == ("Unknown", "too few rows were sampled to tell")
    assert "400 more rows make one" in found.report["message"]
    found.take(shown(rows(2, 400)))
    assert judged(found) == ("False", "requests look like the first 1000 rows")


def test_named_features_are_put_in_the_order_of_the_reference() -> None:
    data = np.asarray(rows(0, 500)) + np.array([0.0, 50.0])
    found = watch()
    found.refer_to(profile_of(data, NAMES), "it")
    swapped = [[width + 50.0, length] for length, width in rows(1, 200)]
    found.take(
        Samples(
            samples=[Sample(names=["width", "length", "id"], rows=[[*row, 7]]) for row in swapped]
        )
    )
    assert judged(found)[0] == "False"
    assert set(found.report["features"]) == set(NAMES)


def test_rows_of_another_width_are_named_and_no_drift() -> None:
    found = watch()
    found.refer_to(reference(), "it")
    found.take(Samples(samples=[Sample(rows=[[1.0, 2.0, 3.0]])] * 20))
    status, message = judged(found)
    assert status == "Unknown"
    assert message == "the reference has 2 features, but the recorded rows have 3"


def test_other_settings_are_followed_at_once() -> None:
    found = watch()
    found.refer_to(reference(), "it")
    found.take(shown([*rows(1, 300), *rows(2, 200, 2.0)]))
    found.assess()
    assert found.report["window"] == 500
    found.follow(MonitoringSettings(window=200))
    assert found.changed
    found.assess()
    assert found.report["window"] == 200
    assert found.report["share_drifted"] == 1.0, "the newest rows are kept"


def test_a_restart_loses_nothing() -> None:
    found = watch()
    found.refer_to(reference(), "it")
    found.take(shown(rows(1, 300, 2.0), feedback=[Feedback("a", label=1, predictions=[1])]))
    found.assess()
    saved = msgspec.msgpack.encode(found.state())
    again = watch(msgspec.msgpack.decode(saved, type=WatchState))
    again.assess()
    assert again.positive == 2
    for part in ("requests", "window", "features", "predictions", "quality"):
        assert again.report[part] == found.report[part], part


def test_feedback_is_joined_with_answers_wherever_they_are_known() -> None:
    found = watch()
    sample = Sample(rows=[[1.0, 2.0]], predictions=[1], id="sampled")
    told = [
        Feedback("here", label=1, predictions=[1]),
        Feedback("sampled", label=0),
        Feedback("elsewhere", label=1),
        Feedback("lost", label=1),
    ]
    found.take(Samples(samples=[sample], feedback=told))
    assert sorted(found.wanted) == ["elsewhere", "lost"]
    found.take(Samples(answers={"elsewhere": [1]}))
    for _ in range(4):
        found.assess()
    assert found.wanted == []
    quality = found.report["quality"]
    assert (quality["labelled"], quality["unknown"]) == (3, 1)
    assert quality["accuracy"] == pytest.approx(2 / 3, abs=1e-4)


def test_classes_have_an_accuracy_and_numbers_an_error() -> None:
    classes = Quality()
    classes.add([1, "cat", 2.0, 0], ["1", "cat", 2, 1])
    assert classes.report()["accuracy"] == 0.75
    numbers = Quality()
    numbers.add([1.0, 2.5], [1, 2])
    numbers.add([3.5], [4.0])
    assert numbers.report()["mean_absolute_error"] == 0.5
    assert Quality().report() == {"labelled": 0, "unknown": 0}


def test_online_detectors_find_when_a_stream_changed_and_what_is_unlike_it() -> None:
    pytest.importorskip("river")
    found = watch()
    found.refer_to(reference(), "it")
    for seed in range(40):
        found.take(shown(rows(seed, 32)))
    found.assess()
    usual = found.report["outliers"]
    for seed in range(40, 60):
        found.take(shown(rows(seed, 32, 4.0)))
    found.assess()
    assert found.report["online"]["length"] == {"detector": "adwin", "count": 1, "last": NOW}
    assert found.report["outliers"]["score"] > usual["score"]
    assert found.report["outliers"]["share"] > usual["share"]


def test_a_canary_is_compared_with_the_stable_revision() -> None:
    stable, canary = watch(), watch()
    assert canary.against(stable, 0.2) is None
    stable.take(shown(rows(1, 400)))
    canary.take(shown(rows(2, 400)))
    same = canary.against(stable, 0.2)
    assert same is not None
    assert not same["drift"]
    canary.take(Samples(samples=[Sample(predictions=[True])] * 400))
    other = canary.against(stable, 0.2)
    assert other is not None
    assert other["drift"]


def test_the_report_is_shown_to_prometheus() -> None:
    from kubeling.kube.objects import Key

    found = watch()
    found.refer_to(reference(), "it")
    found.take(shown(rows(1, 300, 2.0), feedback=[Feedback("a", label=1, predictions=[1])]))
    found.assess()
    registry = Registry()
    metrics.declare(registry, lambda: [(Key("default", "iris"), "iris-1", found.report)])
    text = registry.render()
    labels = 'inferenceservice="iris",namespace="default",revision="iris-1"'
    assert f"kubeling_model_drift_detected{{{labels}}} 1" in text
    assert f'kubeling_model_drift_psi{{feature="length",{labels}}}' in text
    assert f"kubeling_model_accuracy{{{labels}}} 1" in text


def service(**annotations: str) -> dict[str, Any]:
    found = {f"serving.kubeling.io/{key}": value for key, value in annotations.items()}
    metadata = {"name": "iris", "namespace": "default", "uid": "u", "annotations": found}
    return {"metadata": metadata, "spec": {"predictor": {}}}


def test_one_annotation_turns_it_on() -> None:
    assert is_monitored(service(monitoring="true"))
    assert is_monitored(service(monitoring="psi=0.3,window=500"))
    assert not is_monitored(service())
    assert not is_monitored(service(monitoring="false"))
    behind = service()
    behind["spec"]["transformer"] = {"containers": [{"image": "registry:5000/model-monitor:1"}]}
    assert is_monitored(behind)


@pytest.mark.parametrize("text", ["yes", "psi=0", "psi=x", "window=5", "p-value=2", "colour=red"])
def test_settings_that_cannot_be_read_are_refused(text: str) -> None:
    errors = list(validate_monitoring(service(monitoring=text)["metadata"]["annotations"]))
    assert [error.path for error in errors] == [
        "metadata.annotations[serving.kubeling.io/monitoring]"
    ]


@pytest.mark.parametrize("text", ["train", "Pod/x", "Workflow/", "Workflow/a/b"])
def test_what_cannot_be_started_is_refused(text: str) -> None:
    assert list(validate_monitoring(service(retrain=text)["metadata"]["annotations"]))


TEMPLATE = {"metadata": {"name": "train"}, "spec": {}}


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("WorkflowTemplate", TEMPLATE, {"workflowTemplateRef": {"name": "train"}}),
        (
            "ClusterWorkflowTemplate",
            TEMPLATE,
            {"workflowTemplateRef": {"name": "train", "clusterScope": True}},
        ),
        ("Workflow", {"spec": {"entrypoint": "a", "suspend": True}}, {"entrypoint": "a"}),
        ("CronWorkflow", {"spec": {"workflowSpec": {"entrypoint": "a"}}}, {"entrypoint": "a"}),
        ("Pipeline", "p1", {"pipelineVersionReference": {"pipelineID": "p1"}}),
        ("RecurringRun", {"spec": {"run": {"pipelineSpec": {"a": 1}}}}, {"pipelineSpec": {"a": 1}}),
        (
            "Run",
            {"spec": {"pipelineSpec": {"a": 1}, "recurringRunID": "r", "retries": 2}},
            {"pipelineSpec": {"a": 1}},
        ),
    ],
)
def test_each_kind_of_trigger_makes_its_run(kind: str, source: Any, expected: Any) -> None:
    isvc = service()
    title = run_name(isvc, NOW)
    assert title == run_name(isvc, NOW) != run_name(isvc, "2026-01-02T00:00:00Z")
    _, run = run_of(isvc, title, kind, source)
    assert run["metadata"]["name"] == title
    assert expected.items() <= run["spec"].items()
    assert "recurringRunID" not in run["spec"]


def test_a_verdict_names_its_revision_and_stands_for_no_other() -> None:
    verdict = verdict_of({"enough": True, "drift": False, "reference": "x"}, 0, "").of("m-00001")
    assert verdict.message == "m-00001: requests look like x"
    entry = {"type": "DataDrift", "status": "True", "message": "m-00001: drifted from x: a"}
    isvc = {"status": {"conditions": [entry]}}
    assert judged_before(isvc, "m-00001") == "True"
    assert judged_before(isvc, "m-00002") == ""
    assert judged_before({}, "m-00001") == ""


def test_drift_that_a_revision_brings_along_is_an_episode_of_its_own() -> None:
    report = {"enough": True, "drift": True, "drifted": ["a"], "reference": "x"}
    first = verdict_of(report, 5, "")
    assert (first.status, first.reason) == ("Unknown", "NewRevision")
    assert verdict_of(report, 5, first.status).status == "True"
