"""The pipelines API by upstream's generated client, and what is around it: logs, collection."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.test_kfp import DRIVER, SDK
from tests.pipelines.specs import document, step, task
from tests.support.kfp_environment import environment
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

OPERATIONS = Path(__file__).parent / "clients" / "kfp_operations.py"
COMPILE = """
import sys; sys.path.insert(0, sys.argv[1])
from kfp import compiler
from kfp_driver import quick
compiler.Compiler().compile(quick, sys.argv[2])
"""
NOT_OFFERED = {
    "report_service_report_workflow",
    "report_service_report_scheduled_workflow",
    "visualization_service_create_visualization_v1",
}


def ask(url: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as response:
        found: bytes = response.read()
        return found


def test_the_generated_client_can_call_every_operation(solo: Platform, tmp_path: Path) -> None:
    python = str(environment(SDK))
    package = str(tmp_path / "quick.yaml")
    solo.run(python, "-c", COMPILE, str(DRIVER.parent), package)
    done = solo.run(python, str(OPERATIONS), solo.url, package)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missing"] == []
    assert found["listed"] == [found["run_id"]]
    assert (found["state"], found["storage_state"]) == ("SUCCEEDED", "AVAILABLE")
    assert found["recurring"] == ["DISABLED", "ENABLED"]
    assert found["concurrency"] == "2"
    refused = {name for name, status in found["called"].items() if status == 501}
    assert refused == NOT_OFFERED
    assert len(found["called"]) == 40
    metrics = ask(f"{solo.url}/metrics").decode()
    service = 'grpc_service="kubeflow.pipelines.backend.api.v2beta1.RunService"'
    for method, code in (("CreateRun", "OK"), ("RetryRun", "FailedPrecondition")):
        labels = f'grpc_code="{code}",grpc_method="{method}",{service},grpc_type="unary"'
        assert f"grpc_server_handled_total{{{labels}}}" in metrics


def ended(platform: Platform, spec: Any, **fields: Any) -> Any:
    """A run when it has succeeded."""
    url = f"{platform.url}/apis/v2beta1/runs"
    run_id = json.loads(ask(url, {"pipeline_spec": spec, **fields}))["run_id"]
    objects = json.loads(platform.kubectl("get", "runs", "-o", "json"))["items"]
    name = next(o["metadata"]["name"] for o in objects if o["metadata"]["uid"] == run_id)
    platform.kubectl("wait", f"run/{name}", "--for=condition=Succeeded", "--timeout=60s")
    return json.loads(ask(f"{url}/{run_id}"))


def test_logs_are_read_by_run_and_by_pod(solo: Platform) -> None:
    says = step()
    says["executor"]["container"]["command"] = ["sh", "-c", "echo one; echo two"]
    run = ended(solo, document({"a": task()}, {"step": says}))
    nodes = f"{solo.url}/apis/v2beta1/runs/{run['run_id']}/nodes/a"
    assert ask(f"{nodes}/log") == b"one\ntwo\n"
    data = json.loads(ask(f"{nodes}/artifacts/main-logs:read"))["data"]
    assert base64.b64decode(data) == b"one\ntwo\n"
    pod = run["run_details"]["task_details"][0]["pod_name"]
    query = f"podname={pod}&podnamespace=default&runid={run['run_id']}&follow=true"
    assert ask(f"{solo.url}/k8s/pod/logs?{query}") == b"one\ntwo\n"


def test_runs_are_collected_on_demand(solo: Platform) -> None:
    experiments = f"{solo.url}/apis/v2beta1/experiments"
    own = json.loads(ask(experiments, {"display_name": "collected"}))["experiment_id"]
    spec = document({"a": task()}, {"step": step()})
    for name in ("old", "new"):
        ended(solo, spec, display_name=name, experiment_id=own)
    policy = ("--keep-last", "1", "--experiment", "collected")
    planned = solo.kubeling("pipelines", "gc", *policy, "--dry-run").stdout
    assert "1 would be deleted" in planned
    assert "1 deleted" in solo.kubeling("pipelines", "gc", *policy).stdout
    listed = json.loads(ask(f"{solo.url}/apis/v2beta1/runs?experiment_id={own}"))
    assert [run["display_name"] for run in listed["runs"]] == ["new"]
    nothing = solo.kubeling("pipelines", "gc", "--state", "FAILED", check=False)
    assert "--max-age or --keep-last is missing" in nothing.stderr


def test_an_artifact_is_downloaded_and_a_download_goes_on(solo: Platform, tmp_path: Path) -> None:
    run = ended(solo, document({"a": task()}, {"step": step()}))
    body = {"artifact": {"name": "numbers", "type": "Dataset"}, "run_id": run["run_id"]}
    url = f"{solo.url}/apis/v2beta1/artifacts"
    made = json.loads(ask(url, body))["artifact_id"]
    data = bytes(range(256)) * 20_000
    put = urllib.request.Request(f"{url}/{made}/content", data, method="PUT")
    with urllib.request.urlopen(put) as response:
        uri = json.load(response)["uri"]
    target = tmp_path / "numbers"
    (tmp_path / "numbers.part").write_bytes(data[:1_000_000])
    solo.kubeling("pipelines", "download", made, str(target))
    assert target.read_bytes() == data
    folder = {"name": "all", "type": "Artifact", "uri": uri.rpartition("/")[0]}
    made = json.loads(ask(url, {"artifact": folder, "run_id": run["run_id"]}))["artifact_id"]
    solo.kubeling("pipelines", "download", made, str(tmp_path / "all"))
    assert (tmp_path / "all" / "numbers").read_bytes() == data
    refused = solo.kubeling("pipelines", "download", "12", check=False)
    assert "Artifact 12 not found" in refused.stderr
