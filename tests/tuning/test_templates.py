"""Trial templates and the conditions that end a trial."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tuning.experiments import JOB

from kubeling.tuning import gjson
from kubeling.tuning.instrumentation import instrumented
from kubeling.tuning.templates import TemplateError, render, values_of

CONDITIONS = {
    "status": {
        "phase": "Succeeded",
        "conditions": [
            {"type": "Suspended", "status": "False"},
            {"type": "Complete", "status": "True"},
        ],
    }
}


def test_placeholders_are_replaced_and_the_object_gets_its_name() -> None:
    job = render(JOB, {"lr": "0.1"}, "search-a", "team")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][-1] == "print('loss=0.1')"
    assert job["metadata"] == {"name": "search-a", "namespace": "team"}


def test_values_in_text_templates_may_be_numbers() -> None:
    text = "apiVersion: batch/v1\nkind: Job\nspec: {parallelism: ${trialParameters.n}}\n"
    assert render(text, {"n": "3"}, "a", "b")["spec"] == {"parallelism": 3}


def test_quotes_in_a_value_stay_in_the_value() -> None:
    spec = {"kind": "X", "spec": {"text": "${trialParameters.t}"}}
    assert render(spec, {"t": 'a "b"'}, "a", "b")["spec"]["text"] == 'a "b"'


def test_parameters_may_refer_to_the_trial_itself() -> None:
    template = {"kind": "Job", "metadata": {"labels": {"team": "vision"}}}
    parameters = [
        {"name": "name", "reference": "${trialSpec.Name}"},
        {"name": "team", "reference": "${trialSpec.Labels[team]}"},
        {"name": "rate", "reference": "lr"},
    ]
    assert values_of(parameters, {"lr": "1"}, "search-a", "ns", template) == {
        "name": "search-a",
        "team": "vision",
        "rate": "1",
    }


def test_an_undeclared_placeholder_is_named() -> None:
    with pytest.raises(TemplateError, match=r"trialParameters\.lr.*declare it"):
        render(JOB, {}, "a", "b")


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ('status.conditions.#(type=="Complete")#|#(status=="True")#', True),
        ('status.conditions.#(type=="Failed")#|#(status=="True")#', False),
        ('status.conditions.#(type=="Suspended")#|#(status=="True")#', False),
        ('status.[@this].#(phase=="Succeeded")#', True),
        ('status.[@this].#(phase=="Failed")#', False),
        ("status.conditions.1", True),
        ("status.nothing", False),
        ("status.phase", False),
    ],
)
def test_conditions_are_read_as_gjson_reads_them(path: str, holds: bool) -> None:
    assert gjson.holds(CONDITIONS, path) is holds


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.conditions.#", 2),
        ("status.conditions.#.type", ["Suspended", "Complete"]),
        ('status.conditions.#(status=="True").type', "Complete"),
        ('status.conditions.#(type%"S*")#.status', ["False"]),
        (r"a\.b", gjson.MISSING),
    ],
)
def test_paths_pick_values(path: str, value: Any) -> None:
    assert gjson.get(CONDITIONS, path) == value


@pytest.mark.parametrize("path", ["", "a..b", '#(a=="b"', "a.@reverse"])
def test_paths_that_cannot_be_read_are_refused(path: str) -> None:
    with pytest.raises(gjson.PathError):
        gjson.parse(path)


def trial(run_spec: dict[str, Any], collector: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": "search-a", "labels": {"katib.kubeflow.org/experiment": "search"}},
        "spec": {
            "runSpec": run_spec,
            "primaryContainerName": "train",
            "metricsCollector": collector or {"collector": {"kind": "StdOut"}},
        },
    }


FILE = {
    "collector": {"kind": "File"},
    "source": {"fileSystemPath": {"path": "/var/log/katib/metrics.log", "format": "TEXT"}},
}


def test_the_pods_of_a_trial_can_be_found_by_its_name() -> None:
    run = instrumented(trial(render(JOB, {"lr": "1"}, "search-a", "team")))
    template = run["spec"]["template"]
    assert template["metadata"]["labels"]["katib.kubeflow.org/trial"] == "search-a"
    assert template["metadata"]["labels"]["katib.kubeflow.org/experiment"] == "search"
    (container,) = template["spec"]["containers"]
    assert container["env"] == [{"name": "KATIB_TRIAL_NAME", "value": "search-a"}]
    assert "initContainers" not in template["spec"]


def test_options_in_quotes_are_what_upstreams_shell_makes_of_them() -> None:
    job = render(JOB, {"lr": "1"}, "search-a", "team")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    quoted = "--space=\"{'a': 1}\""
    container["command"] = ["python3", quoted, '--said={"a": "b"}', '--left="$HOME"']
    container["args"] = ['-x="1 2"', 'a="b"', '"c"', '--both="d" "e"']
    spec = instrumented(trial(job))["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"][1:] == ["--space={'a': 1}", '--said={"a": "b"}', '--left="$HOME"']
    assert container["args"] == ["-x=1 2", 'a="b"', '"c"', '--both="d" "e"']


def test_file_metrics_come_from_a_sidecar_that_shares_the_folder() -> None:
    run = instrumented(trial(render(JOB, {"lr": "1"}, "search-a", "team"), FILE))
    spec = run["spec"]["template"]["spec"]
    mount = {"name": "metrics-volume", "mountPath": "/var/log/katib"}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    (sidecar,) = spec["initContainers"]
    assert sidecar["name"] == "metrics-logger-and-collector"
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["volumeMounts"] == [mount]


def test_a_folder_the_user_mounts_already_is_shared_as_it_is() -> None:
    job = render(JOB, {"lr": "1"}, "search-a", "team")
    own = {"name": "results", "mountPath": "/var/log/katib"}
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [own]
    spec = instrumented(trial(job, FILE))["spec"]["template"]["spec"]
    assert spec["initContainers"][0]["volumeMounts"] == [own]
    assert "volumes" not in spec


def test_a_train_job_is_reached_through_a_runtime_patch() -> None:
    run = instrumented(
        trial(
            {
                "apiVersion": "trainer.kubeflow.org/v1alpha1",
                "kind": "TrainJob",
                "metadata": {"name": "search-a"},
                "spec": {"runtimeRef": {"name": "torch-distributed"}},
            }
        )
    )
    (patch,) = run["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    labels = node["template"]["spec"]["template"]["metadata"]["labels"]
    assert labels["katib.kubeflow.org/trial"] == "search-a"
