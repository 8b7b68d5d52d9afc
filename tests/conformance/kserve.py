"""KServe's end-to-end tests: unmodified, with twins of the models they fetch.

``kserve`` is a checkout of kserve/kserve; its ``test/e2e`` runs in an environment with its SDK,
told where the platform's API and gateway are, as upstream's CI tells it. Pods have ``gs://`` from a
store of ours (``STORAGE_EMULATOR_HOST``), where twins lie under the addresses that the tests name
(``kserve_twins.py``); the programs of the tests' images are upstream's own or stand-ins
(``kserve_images.py``). A test that is run with several parameters counts once.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import urlsplit

import yaml
from msgspec.structs import fields
from tests.conformance.kserve_hub import model_hub
from tests.conformance.kserve_images import images
from tests.conformance.kserve_skips import skipped
from tests.conformance.outside import address
from tests.conformance.rows import Case, Platform, Row
from tests.support import objectstore
from tests.support.client_python import python_with
from tests.support.objectstore import object_store

from kubeling.engine.config import EngineConfig

__all__ = ["EMULATOR", "ENVIRONMENT", "cases", "images", "outside", "prepare", "run"]

ENVIRONMENT: Final = {"KUBELING_ENGINE_CAPACITY": "{cpu: '16', memory: 64Gi}"}
"""What the tests ask for, whatever the machine has."""

_TESTS: Final = "kserve/test/e2e"
EMULATOR: Final = "STORAGE_EMULATOR_HOST"
_NAMESPACE: Final = "kserve-ci-e2e-test"
_NEEDS: Final = (
    "kserve==0.21.0",
    "kubernetes<36",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "boto3",
    "httpx-retries",
    "jinja2",
    "pandas",
    "portforward",
    "pyarrow",
    "requests",
)
"""As the group ``test`` of upstream's SDK has them; kubernetes 36 refuses that SDK's models."""
_TWINS: Final = ("scikit-learn", "lightgbm", "xgboost-cpu")
_RUNTIMES: Final = (
    ("kserve-torchserve.yaml", "pytorch/torchserve-kfs:0.9.0", "pytorch"),
    ("kserve-tritonserver.yaml", "nvcr.io/nvidia/tritonserver:23.05-py3", "triton"),
)
"""Files of upstream's, the images that its releases put in, and the formats of the tests."""
_AT_ONCE: Final = 6
"""They mostly wait."""
_SECONDS_EACH: Final = 1800
"""Upstream's client asks for six minutes again where a test expects to be answered with 404."""
_WITHIN: Final = 7200


def cases(upstream: Path) -> list[Case]:
    """Every test function, in a group with those of its folder."""
    root = upstream / _TESTS
    found = []
    for path in sorted(root.rglob("test_*.py")):
        file = str(path.relative_to(root))
        group = f"kserve e2e: {path.parent.name}"
        for name in _tests(ast.parse(path.read_text())):
            found.append(Case(f"{file}::{name}", group, path, skip=skipped(file, name)))
    return sorted(found, key=lambda case: case.name)


def _tests(node: ast.AST, within: str = "") -> Iterator[str]:
    """Names of tests as pytest has them, those of classes with the class."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef):
            yield from _tests(inner, f"{inner.name}::")
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and (
            inner.name.startswith("test_")
        ):
            yield within + inner.name


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs the tests, some at once; a row for each when all have ended."""
    yield from (Row(c.name, c.group, "not runnable", c.skip) for c in chosen if c.skip)
    runnable = [case for case in chosen if not case.skip]
    if not runnable:
        return
    root = next(p for p in runnable[0].path.parents if p.name == "e2e")
    with tempfile.TemporaryDirectory(prefix="kserve-") as folder:
        prepare(platform, os.environ[EMULATOR])
        outcomes = _tested(runnable, root, platform, Path(folder))
    for case in runnable:
        why = outcomes.get(case.name, "not run to its end")
        yield Row(case.name, case.group, "failed" if why else "passed", why)


@contextmanager
def outside(folder: Path) -> Iterator[dict[str, str]]:
    """Serves the twins until the block ends; gives the variables by which pods find them."""
    data = Path(os.environ["KUBELING_UPSTREAM"]) / _TESTS / "data"
    hub = folder / "hub"
    expected = data.parent / "predictor" / "test_output.py"
    _written("kserve_language_twins.py", Path(sys.executable), expected, hub)
    with (
        # As much to a page as real stores give: the tests read one.
        mock.patch.object(objectstore, "PAGE", 1000),
        object_store(address(), **_twins(data, folder / "twins")) as store,
        model_hub(hub, address()) as hub_url,
    ):
        usual = next(f.default for f in fields(EngineConfig) if f.name == "pass_env")
        told = {EMULATOR: store.url, "HF_ENDPOINT": hub_url}
        yield {**told, "KUBELING_ENGINE_PASS_ENV": json.dumps([*usual, *told])}


def _twins(requests: Path, folder: Path) -> dict[str, dict[str, bytes]]:
    tabular = python_with(*(f"{name}=={version(name)}" for name in _TWINS), "pandas")
    _written("kserve_twins.py", tabular, requests, folder)
    _written("kserve_network_twins.py", Path(sys.executable), requests, folder)
    tensorflow = python_with("tensorflow-cpu", "pillow")
    _written("kserve_network_twins.py", tensorflow, requests, folder, "tensorflow")
    found: dict[str, dict[str, bytes]] = {"logger-output": {}}
    for file in folder.rglob("*"):
        if file.is_file():
            bucket, _, key = file.relative_to(folder).as_posix().partition("/")
            found.setdefault(bucket, {})[key] = file.read_bytes()
    return found


def _written(script: str, python: Path, requests: Path, folder: Path, *more: str) -> None:
    """Has a script write its twins."""
    command = [str(python), str(Path(__file__).with_name(script)), str(requests), str(folder)]
    subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL)


def prepare(platform: Platform, store: str) -> None:
    """What upstream's setup makes before the tests: their namespace, where models are, runtimes."""
    s3 = {
        "type": "s3",
        "access_key_id": "s3admin",
        "secret_access_key": "s3admin123",
        "endpoint_url": store,
        "bucket": "example-models",
        "region": "us-south",
        "anonymous": "False",
    }
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "storage-config", "namespace": _NAMESPACE},
            "stringData": {"localS3": json.dumps(s3), "loggerS3": json.dumps(s3)},
        },
        *(_runtime(*runtime) for runtime in _RUNTIMES),
    ]
    subprocess.run(
        [str(Path(sys.executable).with_name("kubectl")), "apply", "-f", "-"],
        env={**os.environ, "KUBECONFIG": str(platform.kubeconfig)},
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _runtime(file: str, image: str, format_name: str) -> dict[str, Any]:
    """A runtime of upstream's that the platform has not, or another one for; for one format."""
    folder = Path(os.environ["KUBELING_UPSTREAM"]) / "kserve/config/runtimes"
    found: dict[str, Any] = yaml.safe_load((folder / file).read_text())
    found["metadata"]["name"] += "-upstream"
    spec = found["spec"]
    spec["containers"][0]["image"] = image
    formats = spec["supportedModelFormats"]
    spec["supportedModelFormats"] = [one for one in formats if one["name"] == format_name]
    return found


def _tested(
    chosen: Sequence[Case], root: Path, platform: Platform, folder: Path
) -> Mapping[str, str]:
    """Why each test failed, empty if it passed."""
    report = folder / "report.xml"
    command = [
        *(str(python_with(*_NEEDS)), "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-n", str(_AT_ONCE), "--dist", "worksteal", f"--timeout={_SECONDS_EACH}"),
        *("-o", "log_cli=0", f"--junitxml={report}", *(case.name for case in chosen)),
    ]
    environment = {
        **os.environ,
        "KUBECONFIG": str(platform.kubeconfig),
        "KSERVE_INGRESS_HOST_PORT": urlsplit(platform.url).netloc,
        "CUSTOM_MODEL_GRPC_IMG_TAG": "kserve/custom-model-grpc:latest",
        "IMAGE_TRANSFORMER_IMG_TAG": "kserve/image-transformer:latest",
        "PYTHONDONTWRITEBYTECODE": "1",
        "S3_ENDPOINT": os.environ[EMULATOR],
    }
    with (
        (platform.data.parent / "kserve-tests.log").open("wb") as log,
        subprocess.Popen(command, cwd=root, env=environment, stdout=log) as tests,
    ):
        try:
            tests.wait(_WITHIN)
        except subprocess.TimeoutExpired:
            # Interrupted, pytest still reports what has ended.
            tests.send_signal(signal.SIGINT)
    return _outcomes(ET.parse(report))


def _outcomes(report: ET.ElementTree[Any]) -> dict[str, str]:
    """By test; of one with parameters, the first that failed."""
    found: dict[str, str] = {}
    for test in report.iter("testcase"):
        parts = str(test.get("classname")).rpartition("e2e.")[2].split(".")
        classes = [part for part in parts if part.startswith("Test")]
        module = "/".join(part for part in parts if part not in classes)
        test_name = str(test.get("name")).partition("[")[0]
        name = "::".join([f"{module}.py", *classes, test_name])
        found[name] = found.get(name) or _why(test)
    return found


def _why(test: ET.Element) -> str:
    for outcome in ("failure", "error", "skipped"):
        if (found := test.find(outcome)) is not None:
            lines = str(found.get("message") or "").strip().splitlines() or [outcome]
            return lines[0][:300]
    return ""
