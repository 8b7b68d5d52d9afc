"""Kubeflow Pipelines: upstream's compiled pipelines, its refused files and its client tests.

Pipelines are uploaded and run through the unmodified SDK in an environment of its own, as users
have it. As upstream's own end-to-end suite does, the kfp that components install is replaced by
the current one (upstream takes it from its main branch, here it is the latest release), inputs
without a default are filled in by type, and a fake GPU is on the node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.conformance.outside import outside
from tests.conformance.rows import Case, Platform, Row
from tests.support.kfp_environment import environment

__all__ = ["ARGUMENTS", "IMAGES", "cases", "outside", "run"]

ARGUMENTS: Final = ("--extended-resources", "nvidia.com/gpu=1")
"""A GPU that is none, as upstream's suite has one."""

IMAGES: Final = Path(__file__).with_name("kfp_images.yaml")
DRIVER: Final = Path(__file__).with_name("kfp_sdk.py")
KFP: Final = "2.17.3"
PARALLEL: Final = 4
TIMEOUT: Final = 240

# What cannot run on one machine without the world outside, and why.
NOT_RUNNABLE: Final = {
    "component_with_metadata_fields": "its root takes an artifact, which no run can be given",
    "component_with_task_final_status_GH-12033": (
        "a final status without a task to have it of; upstream skips it, too"
    ),
    "container_with_artifact_output": "its image does not exist",
    "containerized_python_component": "its image does not exist",
    "critical/modelcar": "needs an image that upstream's suite builds",
    "critical/pipeline_with_artifact_upload_download": "downloads from huggingface.co",
    "input_artifact": "its root takes an artifact, which no run can be given",
    "integration/ray_integration_compiled": "needs a Ray operator",
    "pipeline_with_condition_dynamic_task_output_custom_training_job": "needs Vertex AI",
    "pipeline_with_dynamic_task_output_custom_training_job": "needs Vertex AI",
    "pipeline_with_google_artifact_type": "imports classes that no package of PyPI has",
    "pipeline_with_importer_and_gcpc_types": "its image does not exist",
    "pipeline_with_metadata_fields": "its root takes an artifact, which no run can be given",
    "pipeline_with_various_io_types": "its root takes an artifact, which no run can be given",
    "two_step_pipeline": "writes to the address of its artifact by Google's own program",
    "upload_download_compiled": "reads the MinIO server of upstream's manifests past the API",
    "xgboost_sample_pipeline": "reads a data set from the web",
}

# Pipelines beside failing/ that end FAILED at upstream, too, and why.
FAILING: Final = {
    "container_io": "runs a program that does not exist",
    "container_with_concat_placeholder": "runs a program that does not exist",
    "container_with_if_placeholder": "runs a program that does not exist",
    "container_with_placeholder_in_fstring": "runs a program that does not exist",
    "create_pod_metadata_complex": "expects an empty variable where none is declared",
    "env-var": "no proxy is set",
    "local_execution/local_execution_pipeline_with_ignore_upstream_failure": "a step fails",
    "nested_with_parameters": "wants lists of lists; upstream gathers nested loops into one list",
    "parameters_complex": "wants lists of lists; upstream gathers nested loops into one list",
    "pipeline_producer_consumer": "wants lists of lists; upstream gathers nested loops into one",
    "pipeline_as_exit_task": "a step fails",
    "pipeline_with_string_machine_fields_task_output": (
        "its accelerator, NVIDIA_TESLA_P4, is no name of a resource"
    ),
    "pipeline_with_task_final_status": "a step fails",
    "pipeline_with_task_using_ignore_upstream_failure": "a step fails",
}

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "take_nap_compiled": {"naptime_secs": 1},
    "take_nap_pipeline_root_compiled": {"naptime_secs": 1},
    "local_execution/local_execution_pipeline_with_retry": {"counter_path": "COUNTER"},
    "pvc_mount": {"pvc_name": "conformance"},
    "sequential_v2": {"url": "gs://ml-pipeline-playground/shakespeare1.txt"},
    "pipeline_with_string_machine_fields_pipeline_input": {
        "cpu_limit": "500m",
        "memory_limit": "512Mi",
        "accelerator_type": "nvidia.com/gpu",
    },
}
LONG: Final = {"long-running": 900, "log_streaming_compiled": 300}

SECRETS: Final = {
    "test-secret-1": ("username", "user1"),
    "test-secret-2": ("password", "psw1"),
    "test-secret-3": ("password", "psw2"),
}


def cases(upstream: Path) -> list[Case]:
    """The material in a checkout: 151 pipelines, six refused files, the client's tests."""
    data = upstream / "pipelines" / "test_data" / "sdk_compiled_pipelines"
    client = upstream / "pipelines" / "sdk" / "python" / "test" / "client" / "client_test.py"
    return [*_pipelines(data), *_refused(data / "invalid"), *_client_tests(client)]


def _pipelines(data: Path) -> Iterator[Case]:
    valid = data / "valid"
    for path in sorted([*valid.rglob("*.yaml"), *(data / "argo_compatibility").glob("*.yaml")]):
        base = valid if path.is_relative_to(valid) else data
        name = str(path.relative_to(base).with_suffix(""))
        folder = name.rpartition("/")[0] or "valid"
        failing = folder == "failing" or name in FAILING
        yield Case(
            name,
            f"KFP {folder}",
            path,
            "FAILED" if failing else "SUCCEEDED",
            FAILING.get(name, ""),
            NOT_RUNNABLE.get(name, "") or _missing_here(name),
        )


def _missing_here(name: str) -> str:
    """What the image has and this machine, whose programs stand in for it, has not."""
    if name == "pipeline_with_concat_placeholder" and shutil.which("busybox") is None:
        return "its shell is busybox's, which this machine has not"
    return ""


def _refused(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".yaml", ".zip", ".png"):
            yield Case(f"invalid/{path.name}", "KFP invalid", path, "REFUSED")


def _client_tests(path: Path) -> Iterator[Case]:
    for name in re.findall(r"^    def (test_\w+)", path.read_text(), re.MULTILINE):
        yield Case(f"client/{name}", "KFP client", path, "passed")


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs them all; a long one first, so that it does not make everybody wait."""
    yield from (Row(c.name, c.group, "not runnable", c.skip) for c in chosen if c.skip)
    runnable = [case for case in chosen if not case.skip]
    client = [case for case in runnable if case.group == "KFP client"]
    pipelines = [case for case in runnable if case.group != "KFP client"]
    python = environment(KFP)
    if pipelines:
        _prepare(platform)
        yield from _run_pipelines(python, pipelines, platform)
    if client:
        yield from _run_client_tests(python, client, platform)


def _prepare(platform: Platform) -> None:
    """What upstream's suite makes first."""
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: value},
        }
        for name, (key, value) in SECRETS.items()
    ]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "conformance"},
            "spec": claim,
        }
    )
    made = platform.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))
    made.check_returncode()


def _run_pipelines(python: Path, chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        workspace = platform.data.with_name("workspace")  # which steps see
        jobs = [_job(case, Path(scratch), workspace) for case in chosen]
        jobs.sort(key=lambda job: -job["timeout"])
        request = json.dumps({"parallel": PARALLEL, "jobs": jobs})
        env = {**os.environ, "KF_PIPELINES_ENDPOINT": platform.url}
        process = subprocess.Popen(
            [str(python), "-P", str(DRIVER)],
            env=env,
            cwd=scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.close()
        waiting = {case.name: case for case in chosen}
        for line in process.stdout:
            result = json.loads(line)
            yield _row(waiting.pop(result["name"]), result)
        process.wait()
        for case in waiting.values():
            yield Row(case.name, case.group, "failed", "the SDK's process ended before it")


def _job(case: Case, scratch: Path, workspace: Path) -> dict[str, Any]:
    path = case.path
    if path.suffix == ".yaml" and case.group != "KFP invalid":
        text = re.sub(r"kfp==\d+\.\d+\.\d+", f"kfp=={KFP}", path.read_text())
        path = scratch / (case.name.replace("/", "-") + ".yaml")
        path.write_text(text)
    parameters = {
        key: str(workspace / value) if value == "COUNTER" else value
        for key, value in PARAMETERS.get(case.name, {}).items()
    }
    timeout = LONG.get(case.name, TIMEOUT)
    return {"name": case.name, "file": str(path), "parameters": parameters, "timeout": timeout}


def _row(case: Case, result: dict[str, Any]) -> Row:
    error = str(result.get("error") or "").splitlines()
    shown = error[0][:200] if error else ""
    if result["state"] != case.expect:
        reason = f"{result['state']} instead of {case.expect}: {shown}".rstrip(": ")
        return Row(case.name, case.group, "failed", reason)
    reason = "fails as at upstream: " + case.message if case.message else ""
    return Row(case.name, case.group, "passed", reason)


def _run_client_tests(python: Path, chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    path = chosen[0].path
    sdk = path.parents[2]
    env = {
        **os.environ,
        "apiUrl": platform.url,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(sdk.parents[1]),
    }
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [str(path.relative_to(sdk)), f"--junitxml={report}"]
        done = subprocess.run(
            command, env=env, cwd=sdk, capture_output=True, text=True, check=False
        )
        if not report.exists():
            raise RuntimeError(f"upstream's client tests did not run: {done.stdout[-2000:]}")
        found = {entry.get("name"): entry for entry in ET.parse(report).iter("testcase")}
    for case in chosen:
        entry = found.get(case.name.removeprefix("client/"))
        problem = "it did not run" if entry is None else _problem(entry)
        yield Row(case.name, case.group, "failed" if problem else "passed", problem)


def _problem(entry: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := entry.find(kind)) is not None:
            return (found.get("message") or kind).splitlines()[0][:200]
    return ""
