"""Experiments in the dashboard: live, explained, created from a form, and acted on."""

from __future__ import annotations

import csv
import io
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Browser, browser_at
from tests.support.platform import Platform, started

from kubeling.gateway.trials.form import again, experiment_of_form
from kubeling.kube import yaml

EXPERIMENT = "/objects/kubeflow.org/v1beta1/Experiment/default"
FORM = {
    "name": "from-a-form",
    "type": "minimize",
    "metric": "loss",
    "metrics": "size:max",
    "parameters": "x=1..4\nkind=a,b",
    "algorithm": "grid",
    "s.grid.random_state": "7",
    "s.tpe.gamma": "0.2",
    "trials": "2",
    "parallel": "2",
    "resume": "LongRunning",
    "command": "sh -c 'echo loss=$1 size=2' -",
    "image": "busybox",
    "retain": "yes",
}


def test_a_form_becomes_the_experiment_it_says() -> None:
    manifest, wrong = experiment_of_form(FORM)
    assert wrong == {}
    spec = manifest["spec"]
    assert manifest["metadata"] == {"name": "from-a-form", "namespace": "default"}
    assert spec["objective"] == {
        "type": "minimize",
        "objectiveMetricName": "loss",
        "additionalMetricNames": ["size"],
        "metricStrategies": [{"name": "size", "value": "max"}],
    }
    # Settings of algorithms that were not chosen stay in the form.
    assert spec["algorithm"]["algorithmSettings"] == [{"name": "random_state", "value": "7"}]
    container = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][2].endswith(
        "--x=${trialParameters.x} --kind=${trialParameters.kind}"
    )


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("name", "", "name"),
        ("metric", " ", "Which metric?"),
        ("goal", "much", "Give a number"),
        ("metrics", "size:mean", "NAME:min"),
        ("parameters", "", "at least one"),
        ("parameters", "x=1..2\ny=3..", "the upper bound is missing"),
        ("trials", "many", "whole number"),
        ("command", "", "What does a trial run?"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(field: str, text: str, said: str) -> None:
    _, wrong = experiment_of_form({**FORM, field: text})
    assert list(wrong) == [field]
    assert said in wrong[field]


def test_a_template_in_yaml_is_taken_as_it_is() -> None:
    given = {**FORM, "template": "yaml", "spec": "kind: Job\napiVersion: batch/v1\nspec: {}"}
    manifest, wrong = experiment_of_form({**given, "container": "main"})
    template = manifest["spec"]["trialTemplate"]
    assert (wrong, template["primaryContainerName"]) == ({}, "main")
    assert template["trialSpec"]["kind"] == "Job"
    assert "spec" in experiment_of_form({**given, "spec": "just words"})[1]
    assert "spec" in experiment_of_form({**given, "spec": "{"})[1]


def test_an_experiment_runs_again_without_what_the_platform_added() -> None:
    before, _ = experiment_of_form(FORM)
    before["metadata"] |= {"uid": "1", "annotations": {"a": "b"}, "finalizers": ["f"]}
    made = yaml.load(again({**before, "status": {"trials": 3}}, "other"))
    assert made["metadata"] == {
        "name": "other",
        "namespace": "default",
        "annotations": {"a": "b"},
    }
    assert made["spec"] == before["spec"]
    assert "status" not in made


def ended(obj: dict[str, Any]) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(c["type"] == "Succeeded" and c["status"] == "True" for c in conditions)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("experiments")
    with started(folder / "data", folder) as platform:
        script = "import sys; x = float(sys.argv[1][4:]); [print(f'score={x * n}') for n in (1, 2)]"
        (folder / "fit.py").write_text(script)
        platform.kubeling(
            *("tune", str(folder / "fit.py"), "--name", "searched", "--param", "x=0.1..9.9:log"),
            *("--max", "score", "--algorithm", "random", "--trials", "9", "--parallel", "3"),
            *("--setting", "random_state=1"),
        )
        yield platform


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_at(tmp_path_factory.mktemp("profile")) as browser:
        browser.resize(1280)
        yield browser


def text_of(platform: Platform, path: str, **form: str) -> str:
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(f"{platform.url}{path}", body, timeout=30) as answer:
        return str(answer.read().decode())


def on_page(text: str) -> str:
    return f"document.getElementById('live').innerText.includes({json.dumps(text)})"


@pytest.mark.e2e
def test_the_best_is_shown_with_the_command_that_repeats_it(platform: Platform) -> None:
    page = text_of(platform, f"{EXPERIMENT}/searched")
    best = platform.object("experiment", "searched")["status"]["currentOptimalTrial"]
    assert best["bestTrialName"] in page
    assert f"python {platform.workspace}/fit.py --x=" in page
    assert page.count('class="dot') == 9
    rows = list(csv.DictReader(io.StringIO(text_of(platform, f"{EXPERIMENT}/searched/trials.csv"))))
    assert [row["number"] for row in rows] == [str(n) for n in range(1, 10)]
    assert max(float(row["score"]) for row in rows) == float(
        best["observation"]["metrics"][0]["max"]
    )


@pytest.mark.e2e
def test_a_search_that_found_nothing_says_why(platform: Platform) -> None:
    (platform.workspace / "silent.py").write_text("print('other=1')")
    script = str(platform.workspace / "silent.py")
    words = ("--param", "x=1,2", "--max", "score", "--trials", "2", "--name", "silent")
    done = platform.kubeling("tune", script, *words, check=False)
    assert done.returncode == 1
    assert "experiment silent found nothing: 2 unavailable" in done.stdout
    page = text_of(platform, "/objects/kubeflow.org/v1beta1/Experiment/default/silent")
    assert "MetricsUnavailable" in page.partition("<h2>Why</h2>")[2].partition("</section>")[0]


@pytest.mark.e2e
def test_trials_are_compared_and_each_has_a_page(platform: Platform) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(platform, f"{EXPERIMENT}/searched/trials.csv"))))
    chosen = [row["trial"] for row in rows[:2]]
    query = urllib.parse.urlencode([("trial", name) for name in chosen])
    compared = text_of(platform, f"{EXPERIMENT}/searched/compared?{query}")
    assert compared.count("2 values</title>") == 2
    trial = text_of(platform, f"/objects/kubeflow.org/v1beta1/Trial/default/{chosen[0]}")
    assert rows[0]["x"] in trial
    assert "To repeat it" in trial
    assert "2 values</title>" in trial
    assert 'data-log="/pods/default/' in trial
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, f"{EXPERIMENT}/searched/compared?trial={chosen[0]}")
    assert refused.value.code == 400


@pytest.mark.e2e
def test_a_form_that_is_wrong_keeps_what_was_written(platform: Platform) -> None:
    wrong = {**FORM, "parameters": "x=1.."}
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, "/experiments/new", **wrong)
    page = refused.value.read().decode()
    assert refused.value.code == 422
    assert "the upper bound is missing" in page
    assert 'value="from-a-form"' in page
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, "/experiments/new", **{**FORM, "algorithm": "guess"})
    assert "spec.algorithm.algorithmName" in refused.value.read().decode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, "/experiments/new", yaml="kind: Pod")
    assert "should be one Experiment" in refused.value.read().decode()
    manifest = "apiVersion: kubeflow.org/v1beta1\nkind: Experiment\nmetadata:\nspec: {}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, "/experiments/new", yaml=manifest)
    assert refused.value.code == 422
    assert "metadata: Invalid value" in refused.value.read().decode()


@pytest.mark.e2e
def test_a_budget_can_grow_and_an_experiment_be_deleted(platform: Platform) -> None:
    text_of(platform, "/experiments/new", **FORM)
    platform.until(ended, "experiment", "from-a-form")
    act = f"{EXPERIMENT}/from-a-form/act"
    with pytest.raises(urllib.error.HTTPError) as refused:
        text_of(platform, act, action="budget", maxTrialCount="lots", parallelTrialCount="2")
    assert "must be a whole number" in refused.value.read().decode()
    text_of(platform, act, action="budget", maxTrialCount="4", parallelTrialCount="2")
    platform.until(lambda o: o["status"].get("trials") == 4, "experiment", "from-a-form")
    text_of(platform, act, action="delete")
    platform.run("kubectl", "wait", "experiment", "from-a-form", "--for=delete", "--timeout=60s")


@pytest.mark.e2e
@pytest.mark.browser
def test_insight_is_worked_out_when_it_is_looked_at(platform: Platform, browser: Browser) -> None:
    browser.open(f"{platform.url}{EXPERIMENT}/searched/insight")
    browser.until("document.querySelector('.bars text')?.textContent === 'x'")
    assert browser.evaluate(on_page("score by each parameter"))


@pytest.mark.e2e
@pytest.mark.browser
def test_curves_grow_while_a_trial_runs_and_stop_ends_the_search(
    platform: Platform, browser: Browser
) -> None:
    gate = platform.workspace / "gate"
    command = "echo loss=3; echo loss=2; while ! test -e gate; do sleep 0.1; done; "
    command += "echo loss=1; test ${trialParameters.x} = 1 || sleep 1000"
    form = {**FORM, "name": "watched", "metrics": "", "command": command, "parameters": "x=1..9"}
    text_of(platform, "/experiments/new", **{**form, "trials": "9"})
    browser.open(f"{platform.url}{EXPERIMENT}/watched/curves")
    browser.evaluate("window.opened = true")
    curves = "[...document.querySelectorAll('.curves polyline title')].map(t => t.textContent)"
    browser.until(f"{curves}.some(t => t.includes('2 values'))")
    gate.touch()
    browser.until(f"{curves}.some(t => t.includes('3 values'))")
    assert browser.evaluate("window.opened")
    platform.until(lambda o: o["status"].get("trialsSucceeded") == 1, "experiment", "watched")
    browser.open(f"{platform.url}{EXPERIMENT}/watched")
    stop = "[...document.querySelectorAll('.doing button')].find(b => b.value === 'stop')"
    browser.leave(partial(browser.evaluate, f"{stop}.click()"))
    browser.until(on_page("succeeded"))
    platform.until(ended, "experiment", "watched")


@pytest.mark.e2e
@pytest.mark.browser
def test_the_form_shows_the_settings_of_the_chosen_algorithm_only(
    platform: Platform, browser: Browser, tmp_path: Path
) -> None:
    browser.open(f"{platform.url}/experiments/new")
    shown = "[...document.querySelectorAll('[data-for=f-algorithm]')].filter(e => !e.hidden)"
    shown += ".map(e => e.dataset.value)"
    assert browser.evaluate(shown) == ["auto"]
    choose = "const s = document.getElementById('f-algorithm'); s.value = 'grid';"
    browser.evaluate(choose + "s.dispatchEvent(new Event('change', {bubbles: true}))")
    assert browser.evaluate(shown) == ["grid"]
    for path in ("/experiments/new", f"{EXPERIMENT}/searched", f"{EXPERIMENT}/searched/insight"):
        browser.resize(390)
        browser.open(platform.url + path)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            assert browser.faint() == [], (path, scheme)
    browser.resize(1280)


@pytest.mark.e2e
def test_runs_tracked_in_the_registry_show_how_their_metrics_went(platform: Platform) -> None:
    base = f"{platform.url}/api/model_registry/v1alpha3"

    def made(path: str, **body: object) -> str:
        sent = urllib.request.Request(
            f"{base}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return str(json.loads(answer.read())["id"])

    experiment = made("experiments", name="tracked")
    for run_name, last in (("one", 0.5), ("two", 0.25)):
        run = made(f"experiments/{experiment}/experiment_runs", name=run_name)
        artifacts = f"experiment_runs/{run}/artifacts"
        made(artifacts, artifactType="parameter", name="depth", value="3")
        for step, value in enumerate((1.0, last)):
            made(artifacts, artifactType="metric", name="loss", value=value, step=step)
    assert "Tracked experiments" in text_of(platform, "/registry")
    page = text_of(platform, f"/registry/experiments/{experiment}")
    assert "<title>one: 0.5 last, 2 values</title>" in page
    assert "<title>two: 0.25 last, 2 values</title>" in page
    assert "<th>depth</th>" in page
    alone = text_of(platform, f"/registry/experiments/{experiment}?run={run}")
    assert "<title>one:" not in alone
