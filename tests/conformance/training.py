"""The Training Operator 1.9: its SDK's end-to-end tests, and the examples that need no data.

``training-operator`` is a checkout of the branch ``release-1.9`` (of kubeflow/trainer). The tests
are unmodified, in an environment of their own; they run plainly, and once more with gangs, as
upstream's CI has them. Images are programs of the examples, or stand-ins where the real ones
download data (``training_images.yaml``).
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

from kubeling.kube import yaml

__all__ = ["ENVIRONMENT", "cases", "run"]

ENVIRONMENT: Final = {"KUBELING_ENGINE_CAPACITY": "{cpu: '32', memory: 128Gi, nvidia.com/gpu: '8'}"}
"""What the tests and examples ask for, whatever the machine has: none of them uses it all. A GPU is
none, as in upstream's own suites."""

_CATALOGUE: Final = Path(__file__).parent / "training_images.yaml"
_NEEDS: Final = ("kubeflow-training==1.9.4", "kubernetes<34", "pytest")
_WITHIN: Final = 1200
_GANG: Final = "with_gang_scheduling"
_MNIST: Final = "MNIST, which it downloads, is stood in for"
_EXAMPLES: Final = {
    "jax/cpu-demo/demo.yaml": "",
    "jax/jax-dist-spmd-mnist/jaxjob_dist_spmd_mnist_gloo.yaml": _MNIST,
    "mpi/tensorflow-mnist-elastic.yaml": "Horovod's launcher and program are stood in for",
    "mpi/tensorflow-mnist.yaml": "Horovod's program is stood in for",
    "paddlepaddle/simple-cpu.yaml": "",
    "paddlepaddle/simple-gpu.yaml": "its GPUs are none",
    "pytorch/cpu-demo/demo.yaml": "",
    "pytorch/elastic/echo/echo.yaml": "",
    "pytorch/mnist/v1/pytorch_job_mnist_gloo.yaml": f"{_MNIST}; its GPUs are none",
    "pytorch/mnist/v1/pytorch_job_mnist_mpi.yaml": f"{_MNIST}; its GPUs are none",
    "pytorch/simple.yaml": _MNIST,
    "pytorch/smoke-dist/pytorch_job_sendrecv.yaml": "",
    "tensorflow/dist-mnist/tf_job_mnist.yaml": _MNIST,
    "tensorflow/distribution_strategy/multi_worker_tfjob.yaml": f"{_MNIST}; its GPUs are none",
    "tensorflow/mnist_with_summaries/tf_job_mnist.yaml": _MNIST,
    "tensorflow/simple.yaml": _MNIST,
    "xgboost/lightgbm-dist/xgboostjob_v1_lightgbm_dist_training.yaml": (
        "its data, which the image downloads, are others"
    ),
    "xgboost/smoke-dist/xgboostjob_v1_rabit_test.yaml": "",
    "xgboost/xgboost-dist/xgboostjob_v1_iris_train.yaml": "",
    "xgboost/xgboost-dist/xgboostjob_v1_iris_train_local.yaml": "",
    "xgboost/xgboost-dist/xgboostjob_v1_iris_predict_local.yaml": "with the model of that one",
    "xgboost/xgboostjob.yaml": "",
}
"""Those that run here, and what they are without; one after the other, in this order."""

_SKIPPED: Final = {
    "pytorch/deepspeed-demo/pytorch_deepspeed_demo.yaml": "needs a GPU and a model hub",
    "pytorch/elastic/imagenet/imagenet.yaml": "downloads ImageNet",
    "pytorch/mnist/v1/pytorch_job_mnist_nccl.yaml": "needs GPUs: NCCL knows nothing else",
    "xgboost/smoke-dist/xgboostjob_v1alpha1_rabit_test.yaml": "is of an older API, which 1.9 left",
    "xgboost/xgboost-dist/xgboostjob_v1_iris_predict.yaml": "needs a store of others: oss",
}
_CLAIMS: Final = ("strategy-volume", "tfevent-volume", "xgboostlocal")


def cases(upstream: Path) -> list[Case]:
    """The tests of the SDK, and the examples."""
    root = upstream / "training-operator"
    found = []
    for path in sorted((root / "sdk" / "python" / "test" / "e2e").glob("test_e2e_*.py")):
        kind = path.stem.removeprefix("test_e2e_")
        for test in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE):
            found.append(Case(f"{kind} {test}", "training SDK e2e", path))
    group, examples = "training examples", root / "examples"
    found += [Case(name, group, examples / name, message=how) for name, how in _EXAMPLES.items()]
    found += [Case(name, group, examples / name, skip=why) for name, why in _SKIPPED.items()]
    return found


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs the tests, then the examples one after the other."""
    yield from (Row(c.name, c.group, "not runnable", c.skip) for c in chosen if c.skip)
    runnable = [case for case in chosen if not case.skip]
    if not runnable:
        return
    _lay_out(runnable[0].path, platform)
    tests = [case for case in runnable if case.group == "training SDK e2e"]
    yield from _tested([case for case in tests if _GANG not in case.name], "none", platform)
    yield from _tested(
        [case for case in tests if _GANG in case.name], "scheduler-plugins", platform
    )
    for case in runnable:
        if case not in tests:
            yield _run_example(case, platform)


def _lay_out(path: Path, platform: Platform) -> None:
    """Copies the examples' programs to where pods see them, and says which images run them."""
    root = next(parent for parent in path.parents if parent.name == "training-operator")
    examples = platform.data.parent / "workspace" / "examples"
    shutil.copytree(root / "examples", examples)
    text = _CATALOGUE.read_text().replace("EXAMPLES/", f"{examples}/")
    (platform.data / "images.yaml").write_text(text)
    data = examples / "xgboost" / "lightgbm-dist" / "data"
    data.mkdir()
    for name in ("binary.train", "binary.test"):
        (data / name).write_text(_two_classes(random.Random(name)))
    claims = [_claim(name) for name in _CLAIMS]
    made = platform.kubectl("create", "-f", "-", stdin="\n".join(map(json.dumps, claims)))
    made.check_returncode()


def _two_classes(chance: random.Random) -> str:
    """Rows as LightGBM reads them: a class, and what tells it."""
    rows = [(chance.random(), chance.random(), chance.random()) for _ in range(500)]
    return "".join(f"{int(a > b)}\t{a:.3f}\t{b:.3f}\t{c:.3f}\n" for a, b, c in rows)


def _claim(name: str) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "metadata": {"name": name}, "spec": wanted}


def _tested(chosen: Sequence[Case], gang: str, platform: Platform) -> Iterator[Row]:
    if not chosen:
        return
    root = chosen[0].path.parents[2]
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(str(python_with(*_NEEDS)), "-m", "pytest", "-c", "/dev/null", f"--rootdir={root}"),
            *("-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--namespace=default"),
            *(f"test/e2e/{case.path.name}::{case.name.split()[1]}" for case in chosen),
        ]
        environment = {
            **os.environ,
            "KUBECONFIG": str(platform.kubeconfig),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(root),
            "GANG_SCHEDULER_NAME": gang,
        }
        subprocess.run(
            command,
            cwd=root,
            env=environment,
            check=False,
            stdout=subprocess.DEVNULL,
            timeout=_WITHIN,
        )
        outcomes = dict(_outcomes(ET.parse(report)))
    for case in chosen:
        why = outcomes.get(case.name, "it did not run")
        yield Row(case.name, case.group, "failed" if why else "passed", why)


def _outcomes(report: ET.ElementTree[Any]) -> Iterator[tuple[str, str]]:
    for test in report.iter("testcase"):
        kind = str(test.get("classname")).rpartition("test_e2e_")[2]
        why = ""
        for outcome in ("failure", "error", "skipped"):
            if (found := test.find(outcome)) is not None:
                lines = str(found.get("message") or "").strip().splitlines() or [outcome]
                why = lines[0][:300]
        yield f"{kind} {test.get('name')}", why


def _run_example(case: Case, platform: Platform) -> Row:
    job = yaml.load(case.path.read_text())
    assert isinstance(job, dict)
    job["metadata"]["namespace"] = "default"
    kind, name = job["kind"], job["metadata"]["name"]
    created = platform.kubectl("create", "-f", "-", stdin=json.dumps(job))
    if created.returncode:
        return Row(case.name, case.group, "failed", f"refused: {created.stderr.strip()[:300]}")
    waited = platform.kubectl("wait", kind, name, "--for=condition=Succeeded", "--timeout=240s")
    why = ""
    if waited.returncode:
        last = "jsonpath={.status.conditions[-1:].message}"
        told = platform.kubectl("get", kind, name, "-o", last).stdout.strip()
        why = told[:300] or "it did not end"
    platform.kubectl("delete", kind, name)
    return Row(case.name, case.group, "failed" if why else "passed", why or case.message)
