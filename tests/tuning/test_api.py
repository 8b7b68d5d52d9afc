"""What the REST faces of tuning say: readings for charts, and what Katib's own UI asks."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

EXPERIMENT = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "asked", "namespace": "default"},
    "spec": {
        "objective": {
            "type": "minimize",
            "objectiveMetricName": "loss",
            "additionalMetricNames": ["step"],
        },
        "algorithm": {"algorithmName": "grid"},
        "maxTrialCount": 2,
        "parallelTrialCount": 2,
        "parameters": [
            {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}}
        ],
        "trialTemplate": {
            "retain": True,
            "primaryContainerName": "main",
            "trialParameters": [{"name": "x", "reference": "x"}],
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {
                    "backoffLimit": 0,
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "containers": [{
                                "name": "main",
                                "image": "busybox",
                                "command": [
                                    *("sh", "-c"),
                                    "for s in 3 2 1; do "
                                    "echo loss=${s}${trialParameters.x} step=$s; done",
                                ],
                            }],
                        }
                    },
                },
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("tuning-api")
    with started(folder / "data", folder) as platform:
        asked(platform, "create_experiment", {"postData": EXPERIMENT})
        platform.until(
            lambda o: any(
                c["type"] == "Succeeded" and c["status"] == "True"
                for c in o.get("status", {}).get("conditions", ())
            ),
            "experiment",
            "asked",
        )
        yield platform


def asked(platform: Platform, path: str, sent: Any = None, **query: str) -> Any:
    url = f"{platform.url}/katib/{path}/?{urllib.parse.urlencode(query)}"
    body = json.dumps(sent).encode() if sent is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def test_experiments_have_their_last_condition_as_status(platform: Platform) -> None:
    (found,) = asked(platform, "fetch_experiments", namespace="default")
    assert (found["name"], found["type"], found["status"]) == ("asked", "hp", "Succeeded")
    assert found["trialsSucceeded"] == 2
    assert asked(platform, "fetch_experiments", namespace="kubeflow") == []
    assert "default" in asked(platform, "fetch_namespaces")


def test_trials_are_a_table_with_the_best_value_of_each_metric(platform: Platform) -> None:
    common = {"namespace": "default", "experimentName": "asked"}
    head, *rows = asked(platform, "fetch_hp_job_info", **common).split("\n")
    assert head == "Status,trialName,loss,step,x"
    assert sorted(row.split(",")[0::2] for row in rows) == [
        ["Succeeded", "11", "1"],
        ["Succeeded", "12", "2"],
    ]
    name = rows[0].split(",")[1]
    text = asked(platform, "fetch_hp_job_trial_info", namespace="default", trialName=name)
    assert text.startswith("metricName,time,value\nloss,")
    assert asked(platform, "fetch_trial", namespace="default", trialName=name)["kind"] == "Trial"
    log = asked(platform, "fetch_trial_logs", namespace="default", trialName=name)
    assert log.splitlines()[-1].endswith("step=1")


def test_every_reading_of_every_trial_is_there_for_charts(platform: Platform) -> None:
    base = f"{platform.url}/api/tuning/default/asked"
    with urllib.request.urlopen(f"{base}/curves", timeout=30) as answer:
        found = json.loads(answer.read())
    curves = sorted([v for _, v in metrics["loss"]] for metrics in found["trials"].values())
    assert curves == [[31, 21, 11], [32, 22, 12]]
    latest = list(found["trials"])[-1]
    with urllib.request.urlopen(f"{base}/curves?latest=1&metric=step", timeout=30) as answer:
        (one,) = json.loads(answer.read())["trials"].values()
    assert [v for _, v in one["step"]] == [3, 2, 1]
    with urllib.request.urlopen(f"{base}/curves?trial={latest}", timeout=30) as answer:
        assert list(json.loads(answer.read())["trials"]) == [latest]
    with urllib.request.urlopen(f"{base}/revision", timeout=30) as answer:
        assert json.loads(answer.read())["revision"].startswith("2-0-")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{platform.url}/api/tuning/default/none/curves", timeout=30)
    assert refused.value.code == 404


def test_algorithms_say_what_they_do_and_take(platform: Platform) -> None:
    with urllib.request.urlopen(f"{platform.url}/api/tuning/algorithms", timeout=30) as answer:
        found = json.loads(answer.read())
    tpe = next(entry for entry in found["algorithms"] if entry["name"] == "tpe")
    assert tpe["about"]
    seed = next(setting for setting in tpe["settings"] if setting["name"] == "random_state")
    assert seed["about"].startswith("A seed")
    assert seed["must"].startswith(("must", "should"))
    assert {entry["name"] for entry in found["earlyStopping"]} >= {"medianstop"}


def test_templates_are_added_renamed_and_deleted(platform: Platform) -> None:
    where = {"updatedConfigMapNamespace": "default", "updatedConfigMapName": "mine"}
    one = {**where, "updatedConfigMapPath": "a.yaml", "updatedTemplateYaml": "kind: Job"}
    added = asked(platform, "add_template", one)
    templates = {"ConfigMapName": "mine", "Templates": [{"Path": "a.yaml", "Yaml": "kind: Job"}]}
    mine = [entry for entry in added["Data"] if entry["ConfigMapNamespace"] == "default"]
    assert mine == [{"ConfigMapNamespace": "default", "ConfigMaps": [templates]}]
    renamed = {**one, "configMapPath": "a.yaml", "updatedConfigMapPath": "b.yaml"}
    edited = asked(platform, "edit_template", renamed)
    assert '"Path": "b.yaml"' in json.dumps(edited)
    assert '"Path": "a.yaml"' not in json.dumps(edited)
    gone = asked(platform, "delete_template", {**where, "updatedConfigMapPath": "b.yaml"})
    assert "default" not in {entry["ConfigMapNamespace"] for entry in gone["Data"]}
    assert asked(platform, "fetch_trial_templates") == gone
