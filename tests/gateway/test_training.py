"""Training jobs in the dashboard: replicas with their logs, progress, and what they wait for."""

from __future__ import annotations

import csv
import html
import io
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Browser, browser_at
from tests.support.platform import Platform, started

from kubeling.gateway.pages.training.printed import printed_metrics
from kubeling.gateway.pages.training.replicas import replicas_of, waits_for

JOB = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: trains}
spec:
  pytorchReplicaSpecs:
    Master:
      restartPolicy: Never
      template:
        spec:
          containers:
          - name: pytorch
            image: busybox
            command:
            - sh
            - -c
            - for i in 4 3 2; do echo "epoch $i loss=0.$i"; done;
              while ! test -e go; do sleep 0.1; done; echo loss=0.1
    Worker:
      replicas: 2
      restartPolicy: Never
      template:
        spec:
          containers:
          - {name: pytorch, image: busybox, command: [sh, -c, "echo worker here; sleep 1000"]}
"""
TRAIN_JOB = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: reports}
spec:
  suspend: true
  runtimeRef: {name: torch-distributed}
"""
SEARCH = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: OptimizationJob
metadata: {name: seeks}
spec:
  objectives: [{metric: loss, direction: Minimize}]
  searchAlgorithm: {random: {}}
  parameters: [{name: x, searchSpace: {uniform: {min: "0", max: "1"}}}]
  numTrials: 2
  trainJobTemplate:
    spec:
      runtimeRef: {name: xgboost-distributed}
      trainer: {image: "python:3", command: [python, optimized.py]}
"""
EXAMPLES = Path(__file__).parents[2] / "examples" / "training"


def pod(role: str, index: int, **status: Any) -> dict[str, Any]:
    labels = {
        "training.kubeflow.org/job-name": "j",
        "training.kubeflow.org/replica-type": role,
        "training.kubeflow.org/replica-index": str(index),
    }
    return {
        "kind": "Pod",
        "metadata": {"name": f"j-{role}-{index}", "namespace": "n", "labels": labels},
        "status": status,
    }


def test_the_one_that_decides_comes_first() -> None:
    pods = [pod("worker", 10), pod("worker", 2), pod("evaluator", 0), pod("chief", 0)]
    titles = [replica.title for replica in replicas_of(pods)]
    assert titles == ["chief 0", "worker 2", "worker 10", "evaluator 0"]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Running"}, ""),
        ({"phase": "Pending"}, "starting"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: cpu"}
                ],
            },
            "0/1 nodes: cpu",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no x"}}}
                ],
            },
            "ImagePullBackOff: no x",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "10s"}},
                        "lastState": {"terminated": {"exitCode": 3}},
                    }
                ],
            },
            "CrashLoopBackOff: it ended with exit code 3",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "init", "state": {"running": {}}}],
                "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "init container init runs",
        ),
    ],
)
def test_a_replica_says_what_it_waits_for(status: dict[str, Any], said: str) -> None:
    (replica,) = replicas_of([pod("worker", 0, **status)])
    assert replica.waits == said


def test_a_job_says_what_it_waits_for_as_a_whole() -> None:
    job: dict[str, Any] = {"kind": "PyTorchJob", "spec": {}, "metadata": {"name": "j"}}
    replicas = replicas_of([pod("master", 0, phase="Running"), pod("worker", 0, phase="Pending")])
    assert waits_for(job, replicas) == "1 of 2 replicas wait. worker 0: starting"
    assert waits_for(job, replicas[:1]) == ""
    assert waits_for(job, []) == "Its pods have not been made yet."
    assert "suspended" in waits_for({**job, "spec": {"runPolicy": {"suspend": True}}}, [])
    ended = {**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    assert waits_for(ended, replicas) == ""


def test_what_is_printed_again_and_again_is_a_metric() -> None:
    lines = [f"Epoch: {n} [{n}/3] loss={1 / n:.3f} val/acc: 0.{n} lr=1e-{n}" for n in (1, 2, 3)]
    lines += ["listening on 127.0.0.1:8080", "seed=1", "once=5", "version=1.2.3"]
    found = printed_metrics(lines)
    assert found["loss"] == [(1, 1.0), (2, 0.5), (3, 0.333)]
    assert [v for _, v in found["val/acc"]] == [0.1, 0.2, 0.3]
    assert found.keys() == {"loss", "val/acc", "lr"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("training-pages")
    with started(folder / "data", folder) as platform:
        yield platform


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_at(tmp_path_factory.mktemp("profile")) as browser:
        browser.resize(1280)
        yield browser


def on_page(text: str) -> str:
    return f"document.getElementById('live').innerText.includes({json.dumps(text)})"


@pytest.mark.e2e
@pytest.mark.browser
def test_replicas_are_followed_with_their_logs_and_what_they_print(
    platform: Platform, browser: Browser
) -> None:
    platform.kubectl("apply", "-f", "-", stdin=JOB)
    page = "/objects/kubeflow.org/v1/PyTorchJob/default/trains"
    browser.open(platform.url + page)
    browser.evaluate("window.opened = true")
    titles = "[...document.querySelectorAll('.curves polyline title')].map(t => t.textContent)"
    browser.until(f"{titles}.includes('loss: 0.2 last, 3 values')")
    for replica in ("master 0", "worker 0", "worker 1"):
        assert browser.evaluate(on_page(replica))
    browser.until(on_page("epoch 2 loss=0.2"))
    second = "document.querySelectorAll('[data-log*=worker-1]')[0]"
    browser.until(f"{second}?.textContent.includes('worker here')")
    (platform.workspace / "go").touch()
    browser.until(f"{titles}.includes('loss: 0.1 last, 4 values')")
    browser.until("document.querySelector('h1').innerText.includes('succeeded')")
    assert browser.evaluate("window.opened")
    for width in (1280, 390):
        browser.resize(width)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        assert browser.faint() == [], scheme
    browser.resize(1280)


@pytest.mark.e2e
def test_progress_that_a_trainer_reports_is_shown_and_the_job_acted_on(platform: Platform) -> None:
    platform.kubectl("apply", "-f", "-", stdin=TRAIN_JOB)
    path = "/objects/trainer.kubeflow.org/v1alpha1/TrainJob/default/reports"
    assert "It is suspended" in text_of(platform, path)
    assert "suspended" in platform.kubeling("why", "trainjob/reports").stdout
    told = {
        "progressPercentage": 42,
        "estimatedRemainingSeconds": 120,
        "metrics": [{"name": "loss", "value": "0.123"}],
        "lastUpdatedTime": "2026-01-01T00:00:00Z",
    }
    patch = json.dumps({"status": {"trainerStatus": told}})
    platform.kubectl(
        *("patch", "trainjob", "reports", "--subresource=status", "--type=merge", "-p", patch)
    )
    page = text_of(platform, path)
    assert '<progress max="100" value="42">' in page
    assert "about 2m to go" in page
    assert "0.123" in page
    assert "42 %" in text_of(platform, "/training")
    text_of(platform, f"{path}/act", action="delete")
    platform.run("kubectl", "wait", "trainjob", "reports", "--for=delete", "--timeout=60s")


@pytest.mark.e2e
def test_a_train_job_that_failed_is_said_once_with_the_cause_below_it(platform: Platform) -> None:
    trainer = "  trainer: {image: busybox, command: [sh, -c, exit 3]}\n"
    job = TRAIN_JOB.replace("reports", "fails").replace("true", "false") + trainer
    platform.kubectl("apply", "-f", "-", stdin=job)
    platform.kubeling("wait", "trainjob/fails", "--for", "condition=Failed")
    failed = text_of(platform, "/").partition("Failed")[2]
    assert "TrainJob/fails" in failed
    assert "Pod/fails-node-0-0" in failed
    assert '<span class="kind">Job</span>' not in failed


@pytest.mark.e2e
def test_a_search_over_train_jobs_is_listed_with_the_best_and_has_a_page(
    platform: Platform,
) -> None:
    shutil.copy(EXAMPLES / "optimized.py", platform.workspace)
    platform.kubectl("apply", "-f", "-", stdin=SEARCH)
    platform.kubeling("wait", "optimizationjob/seeks", "--for", "condition=Complete")
    listed = text_of(platform, "/experiments").partition("Searches over TrainJobs")[2]
    assert "minimize loss" in listed
    assert "seeks-trial-" in listed
    path = "/objects/trainer.kubeflow.org/v1alpha1/OptimizationJob/default/seeks"
    page = text_of(platform, path)
    assert "Best: loss = " in page
    assert "KUBEFLOW_TRAINER_OPT_X=" in page
    assert "loss by trial" in page
    assert "Trials side by side" in page
    assert "/TrainJob/default/seeks-trial-1" in page
    table = list(csv.DictReader(io.StringIO(text_of(platform, f"{path}/trials.csv"))))
    assert [row["state"] for row in table] == ["succeeded", "succeeded"]
    assert float(table[0]["loss"]) == pytest.approx((float(table[0]["x"]) - 0.5) ** 2, abs=1e-6)
    compared = f"{path}/compared?trial=seeks-trial-0&trial=seeks-trial-1"
    assert "2 trials" in text_of(platform, compared)
    assert "loss by each parameter" in text_of(platform, f"{path}/insight")
    assert "MaxTrialsReached" in text_of(platform, f"{path}/details")
    trial = text_of(platform, path.replace("OptimizationJob", "TrainJob") + "-trial-1")
    assert f'a trial of <a href="{path}">seeks</a>' in trial
    page = text_of(platform, "/objects/jobset.x-k8s.io/v1alpha2/JobSet/default/seeks-trial-1")
    assert "succeeded" in page.partition("</h1>")[0]


@pytest.mark.e2e
def test_runtimes_are_listed_and_each_has_a_train_job_to_begin_with(platform: Platform) -> None:
    listed = text_of(platform, "/training/runtimes")
    assert "/ClusterTrainingRuntime/-/torchtune-llama3.2-1b" in listed
    path = "/objects/trainer.kubeflow.org/v1alpha1/ClusterTrainingRuntime/-/jax-distributed"
    page = text_of(platform, path)
    assert "1 node, started by jax" in page
    assert "None yet." in page
    example = html.unescape(page.partition('<pre class="command">')[2].partition("</pre>")[0])
    example = example.replace("spec:\n", "spec:\n  suspend: true\n", 1)
    made = platform.kubectl("create", "-f", "-", "-o", "name", stdin=example).strip()
    job = made.rpartition("/")[2]
    # The controllers see what the pages see.
    platform.run("kubectl", "wait", f"jobset/{job}", "--for=create", "--timeout=60s")
    assert job in text_of(platform, path)
    own = text_of(platform, f"/objects/trainer.kubeflow.org/v1alpha1/TrainJob/default/{job}")
    assert f'href="{path}"' in own
    platform.kubectl("delete", made)


def text_of(platform: Platform, path: str, **form: str) -> str:
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(f"{platform.url}{path}", body, timeout=30) as answer:
        return str(answer.read().decode())
